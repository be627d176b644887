//! Which tables are copied, and how one looks on both sides.

use super::CopyError;
use crate::store::StoreError;

/// The tables that are copied, each after those that its rows refer to.
pub const COPIED: &[&str] = &[
    "currencies",
    "tenant_state",
    "daemon_state",
    "frozen_objects",
    "breakers",
    "api_tokens",
    "inbox",
    "click_tracking",
    "meta_leads",
    "erasures",
    "deal_requests",
    "deal_merges",
    "sync_requests",
    "crm_deals",
    "crm_deal_contacts",
    "crm_events",
    "crm_contacts",
    "crm_pipeline_stages",
    "conversion_tracking",
    "attribution_performance_log",
    "attribution_reliability",
    "reported_conversions",
    "reported_results",
    "synthetic_revenue_config",
    "revenue_ledger",
    "ad_accounts",
    "ad_entities",
    "ad_entity_history",
    "ad_insights",
    "ad_insight_past",
    "insight_watermarks",
    "decision_runs",
    "decisions",
    "pending_ad_changes",
    "ad_change_history",
    "winners",
    "brought_vectors",
    "model_registry",
    "model_history",
    "shadow_decisions",
    "job_execution_history",
    "job_status",
    "sync_cursors",
    "outbox",
    "gate_state",
];

/// A table that is not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub table: &'static str,
    /// The reason.
    pub why: &'static str,
    /// Whether daemons write to it, so that rows in it say that one has been there.
    pub is_daemons: bool,
}

/// The tables that are not copied.
pub const LEFT_OUT: &[LeftOut] = &[
    LeftOut {
        table: "nodes",
        why: "a daemon writes itself down where it starts",
        is_daemons: true,
    },
    LeftOut {
        table: "tenant_leases",
        why: "a daemon takes new leases where it starts, and one that is stopped holds none",
        is_daemons: true,
    },
    LeftOut {
        table: "_sqlx_migrations",
        why: "each database has its own migrations",
        is_daemons: false,
    },
    LeftOut {
        table: "sqlite_sequence",
        why: "the numbers that tables go on from are set as their identities",
        is_daemons: false,
    },
];

/// Tables that a migrated database has rows of already, and what tells that somebody wrote to them.
/// Their rows are replaced.
pub(in crate::store) const SEEDED: &[(&str, &str)] = &[
    ("currencies", "false"),
    (
        "daemon_state",
        "num_nonnulls(paused_by, paused_reason, paused_since, key_check) > 0",
    ),
];

/// What a column holds; the same four kinds on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Int,
    Real,
    Text,
    Bytes,
}

impl Kind {
    /// By the type's name in either database.
    pub(in crate::store) fn of(type_name: &str) -> Option<Self> {
        match type_name.to_ascii_lowercase().as_str() {
            "integer" | "bigint" => Some(Self::Int),
            "real" | "double precision" => Some(Self::Real),
            "text" => Some(Self::Text),
            "blob" | "bytea" => Some(Self::Bytes),
            _ => None,
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Column {
    pub(in crate::store) name: String,
    pub(in crate::store) kind: Kind,
}

/// A column as a database tells of it.
pub(in crate::store) struct FoundColumn {
    pub(in crate::store) name: String,
    pub(in crate::store) type_name: String,
    /// Its place in the primary key, from 1; 0 for one that is not in it.
    pub(in crate::store) key: i64,
    /// Whether the database numbers its rows.
    pub(in crate::store) is_identity: bool,
}

/// A table as both databases have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// By name, so that the order in which a database lists them does not matter.
    pub(in crate::store) columns: Vec<Column>,
    /// The columns of the primary key, as places in `columns`.
    pub(in crate::store) key: Vec<usize>,
    /// The column that the target numbers rows by.
    pub(in crate::store) identity: Option<String>,
}

impl Table {
    /// The table of these columns.
    pub(in crate::store) fn of(
        name: &'static str,
        mut found: Vec<FoundColumn>,
    ) -> Result<Self, CopyError> {
        let odd = |detail: String| {
            CopyError::Store(StoreError::Corrupt {
                table: name,
                detail,
            })
        };
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let mut key: Vec<(i64, usize)> = Vec::new();
        let mut columns = Vec::new();
        let mut identity = None;
        for (place, column) in found.into_iter().enumerate() {
            let Some(kind) = Kind::of(&column.type_name) else {
                let (name, kind) = (&column.name, &column.type_name);
                return Err(odd(format!("nothing is known of type {kind} of {name}")));
            };
            if column.key > 0 {
                if !matches!(kind, Kind::Int | Kind::Text) {
                    return Err(odd(format!("{} can be no key", column.name)));
                }
                key.push((column.key, place));
            }
            if column.is_identity {
                identity = Some(column.name.clone());
            }
            columns.push(Column {
                name: column.name,
                kind,
            });
        }
        if key.is_empty() {
            return Err(odd("it is not there, or has no primary key".to_owned()));
        }
        key.sort_unstable();
        Ok(Self {
            name,
            columns,
            key: key.into_iter().map(|(_, place)| place).collect(),
            identity,
        })
    }

    /// Whether the other side has the same columns and the same key.
    pub(in crate::store) fn is_like(&self, other: &Self) -> bool {
        self.columns == other.columns && self.key == other.key
    }

    /// The columns, quoted and listed.
    pub(in crate::store) fn column_list(&self) -> String {
        list(self.columns.iter())
    }

    /// The columns of the key, quoted and listed.
    pub(in crate::store) fn key_list(&self) -> String {
        list(self.key_columns())
    }

    /// The columns of the key in its order.
    pub(in crate::store) fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|place| self.columns.get(*place))
    }

    /// A statement for the rows in the order of the key; `after` a key if so asked, whose values are
    /// the parameters. It reads the same on both sides.
    pub(in crate::store) fn select(&self, after: bool) -> String {
        let key = self.key_list();
        let after = if after {
            let places: Vec<_> = (1..=self.key.len()).map(|n| format!("${n}")).collect();
            format!(" where ({key}) > ({})", places.join(", "))
        } else {
            String::new()
        };
        format!(
            "select {} from \"{}\"{after} order by {key}",
            self.column_list(),
            self.name
        )
    }
}

fn list<'c>(columns: impl Iterator<Item = &'c Column>) -> String {
    let names: Vec<_> = columns
        .map(|column| format!("\"{}\"", column.name))
        .collect();
    names.join(", ")
}
