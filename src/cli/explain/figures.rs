//! What Meta's figures were when a decision was taken, beside what they are now: Meta counts late, and
//! restates.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::actors::housekeeper::PAST_KEPT;
use crate::cli::context::CliContext;
use crate::domain::ids::TenantId;
use crate::domain::insight::{AdInsight, ReportWindow};
use crate::domain::money::Money;
use crate::domain::structure::EntityRef;
use crate::domain::time::{self, Date};
use crate::store::decisions::DecisionRecord;

/// Days before a decision, its own included.
const DAYS: i64 = 7;

/// Sums of an object's days.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sums {
    spend: Money,
    impressions: u64,
    clicks: u64,
}

impl Sums {
    fn shown(&self) -> String {
        format!(
            "{} spent, {} impressions, {} clicks",
            self.spend, self.impressions, self.clicks
        )
    }

    fn json(&self) -> Value {
        json!({
            "spend": self.spend.to_decimal(),
            "currency": self.spend.currency().code(),
            "impressions": self.impressions,
            "clicks": self.clicks,
        })
    }
}

/// The figures of one object at two times.
pub(super) struct Figures {
    since: Date,
    until: Date,
    then: Sums,
    now: Sums,
}

impl Figures {
    /// The figures behind a decision, while what they were is kept.
    pub(super) async fn of(
        tenant: &TenantId,
        decision: &DecisionRecord,
        ctx: &CliContext,
    ) -> anyhow::Result<Option<Self>> {
        if time::between(decision.at, ctx.now()) > PAST_KEPT {
            return Ok(None);
        }
        let Some((structure, _)) = ctx.store.structure(tenant).await? else {
            return Ok(None);
        };
        let Some(zone) = structure.account.time_zone() else {
            return Ok(None);
        };
        let until = time::day_of(decision.at, &zone);
        let since = time::add_days(until, 1 - DAYS);
        let none = Money::zero(structure.account.currency);
        let sum = |rows: Vec<AdInsight>| {
            let mut sums = Sums {
                spend: none,
                impressions: 0,
                clicks: 0,
            };
            for row in rows.iter().filter(|row| {
                is_of(row, &decision.entity)
                    && matches!(row.window, ReportWindow::Day(day) if day <= until)
            }) {
                sums.spend = sums.spend.checked_add(row.spend)?;
                sums.impressions = sums.impressions.saturating_add(row.impressions);
                sums.clicks = sums.clicks.saturating_add(row.clicks);
            }
            anyhow::Ok(sums)
        };
        let store = &ctx.store;
        let then = store
            .daily_insights_as_of(tenant, since, decision.at)
            .await?;
        let now = store.daily_insights(tenant, since).await?;
        Ok(Some(Self {
            since,
            until,
            then: sum(then)?,
            now: sum(now)?,
        }))
    }

    pub(super) fn tell(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\nMeta's figures of {} to {}\n  as they were known then: {}",
            self.since,
            self.until,
            self.then.shown()
        );
        if self.then == self.now {
            text.push_str("  they are the same now\n");
        } else {
            let _ = writeln!(text, "  as they are known now: {}", self.now.shown());
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "since": self.since.to_string(),
            "until": self.until.to_string(),
            "known_then": self.then.json(),
            "known_now": self.now.json(),
        })
    }
}

fn is_of(row: &AdInsight, entity: &EntityRef) -> bool {
    match entity {
        EntityRef::Campaign(id) => row.campaign == *id,
        EntityRef::AdSet(id) => row.ad_set == *id,
        EntityRef::Ad(id) => row.ad == *id,
    }
}
