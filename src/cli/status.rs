//! `roasd status`: how each tenant stands, and what to do next.

use serde_json::{Map, Value, json};

use super::context::{CliContext, Out, ago, clean, print_json, when};
use super::{Exit, complain};
use crate::config::Tenant;
use crate::domain::autonomy::{ActionKind, Autonomy, TrackRecord};
use crate::domain::change::{ChangeState, track_record};
use crate::domain::coverage::Coverage;
use crate::domain::ids::TenantId;
use crate::domain::money::{Currency, Money};
use crate::domain::rationale::paragraph::short;
use crate::domain::safety::Trip;
use crate::domain::time::{self, TimeZone, Timestamp};
use crate::store::changes::ChangeFilter;
use crate::store::gate::GateRow;
use crate::store::inbox::InboxDepth;
use crate::store::jobs::JobStatus;
use crate::store::tenants::{Held, TenantHolds};

/// The days that money is told for.
const DAYS: i64 = 7;

/// The days that a person's approvals are counted for.
const RECORD_DAYS: i64 = 14;

/// What `status` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StatusArgs {
    /// Of this tenant only.
    pub tenant: Option<TenantId>,
}

/// Shows the status.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &StatusArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let tenants = match ctx.chosen(args.tenant.as_ref()).await? {
        Ok(tenants) => tenants,
        Err(unknown) => {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
    };
    let store = ctx.store.store_status().await?;
    let gate = ctx.store.load_gate().await?;
    let mut reports = Vec::new();
    for tenant in &tenants {
        reports.push(Report::gather(tenant, &gate, ctx).await?);
    }
    let now = ctx.now();
    if ctx.json {
        let tenants: Vec<_> = reports.iter().map(|r| r.to_json(now)).collect();
        let gate: Vec<_> = gate.iter().map(gate_json).collect();
        print_json(
            out,
            &json!({
                "at": now.to_string(),
                "store": {
                    "backend": store.backend,
                    "place": store.place,
                    "schema_version": store.schema_version,
                    "bytes": store.bytes,
                },
                "gate": gate,
                "tenants": tenants,
            }),
        )?;
        return Ok(Exit::Done);
    }
    writeln!(
        out,
        "{}, schema {}, {:.1} MB",
        store.place,
        store.schema_version,
        store.bytes as f64 / 1e6
    )?;
    // An account's rows are told with its tenant.
    for row in gate.iter().filter(|row| row.scope.starts_with("app")) {
        let text = format!("gate to Meta, {}: {}", row.scope, gate_text(row, now));
        writeln!(out, "{}", clean(&text))?;
    }
    for report in &reports {
        report.print(now, out)?;
    }
    if reports.is_empty() {
        writeln!(
            out,
            "no tenant yet: add [tenants.<id>] to the configuration"
        )?;
    }
    Ok(Exit::Done)
}

fn gate_json(row: &GateRow) -> Value {
    json!({
        "scope": row.scope,
        "usage_percent": row.usage_percent,
        "headroom_percent": (100.0 - row.usage_percent).max(0.0),
        "tier": row.tier,
        "blocked_until": row.blocked_until.map(|at| at.to_string()),
        "reason": row.reason,
        "seen_at": row.seen_at.to_string(),
    })
}

fn gate_text(row: &GateRow, now: Timestamp) -> String {
    let mut text = format!("{:.0} % headroom", (100.0 - row.usage_percent).max(0.0));
    if let Some(tier) = &row.tier {
        text.push_str(&format!(", {}", tier.replace('_', " ")));
    }
    if let Some(until) = row.blocked_until.filter(|until| *until > now) {
        text.push_str(&format!(
            ", CLOSED until {}: {}",
            when(until, now),
            row.reason
        ));
    }
    text.push_str(&format!(", seen {}", ago(row.seen_at, now)));
    text
}

/// How one tenant stands.
struct Report {
    tenant: TenantId,
    settings: Option<Tenant>,
    holds: TenantHolds,
    breakers: Vec<Trip>,
    records: Vec<(ActionKind, TrackRecord)>,
    jobs: Vec<JobStatus>,
    decided_at: Option<Timestamp>,
    insights_at: Option<Timestamp>,
    inbox: InboxDepth,
    changes: Vec<(ChangeState, u64)>,
    coverage: Coverage,
    money: Option<WeekOfMoney>,
    faulty_deals: u64,
    gate: Vec<GateRow>,
}

/// Money of the trailing week.
struct WeekOfMoney {
    spend: Money,
    pipeline: Money,
    cash: Money,
}

impl WeekOfMoney {
    fn pipeline_roas(&self) -> Option<f64> {
        ratio(self.pipeline, self.spend)
    }

    fn cash_roas(&self) -> Option<f64> {
        ratio(self.cash, self.spend)
    }
}

fn ratio(part: Money, whole: Money) -> Option<f64> {
    (whole.minor() > 0 && part.currency() == whole.currency())
        .then(|| part.to_f64() / whole.to_f64())
}

impl Report {
    async fn gather(tenant: &TenantId, gate: &[GateRow], ctx: &CliContext) -> anyhow::Result<Self> {
        let store = &ctx.store;
        let now = ctx.now();
        let settings = ctx.config.tenants.get(tenant).cloned();
        let structure = store.structure(tenant).await?;
        let account = structure.as_ref().map(|(structure, _)| &structure.account);
        let currency = settings
            .as_ref()
            .map(|tenant| tenant.settings.currency)
            .or_else(|| account.map(|account| account.currency));
        let zone = account
            .and_then(|account| account.time_zone())
            .unwrap_or(TimeZone::UTC);
        let window = settings.as_ref().map_or(time::days(DAYS), |tenant| {
            tenant.settings.quality.coverage_window
        });
        let from = time::sub(now, window);
        let coverage = match currency {
            Some(currency) => Coverage::of(&store.coverage(tenant, from, currency).await?),
            None => Coverage::default(),
        };
        let money = match currency {
            Some(currency) => Some(week(tenant, currency, &zone, ctx).await?),
            None => None,
        };
        let ad_account = settings
            .as_ref()
            .map(|tenant| tenant.settings.meta.ad_account.to_string());
        let is_its = |row: &&GateRow| {
            let whose = row.scope.split('/').next();
            ad_account.is_some() && whose == ad_account.as_deref()
        };
        let gate = gate.iter().filter(is_its).cloned().collect();
        Ok(Self {
            gate,
            tenant: tenant.clone(),
            settings,
            holds: store.holds(tenant).await?,
            breakers: store.breakers(tenant, now).await?,
            records: records(tenant, now, ctx).await?,
            jobs: store.job_status(tenant).await?,
            decided_at: store.latest_run_at(tenant).await?,
            insights_at: store.insights_watermark(tenant).await?,
            inbox: store.inbox_depth(tenant).await?,
            changes: store.change_counts(tenant).await?,
            coverage,
            money,
            faulty_deals: store.faulty_deals(tenant, 1_000).await?.len() as u64,
        })
    }

    fn count(&self, state: ChangeState) -> u64 {
        self.changes
            .iter()
            .find(|(known, _)| *known == state)
            .map_or(0, |(_, count)| *count)
    }

    fn holding(&self) -> Vec<(&'static str, &Held)> {
        let TenantHolds {
            daemon_paused,
            paused,
            parked,
            suspended,
        } = &self.holds;
        [
            ("daemon_paused", daemon_paused),
            ("paused", paused),
            ("parked", parked),
            ("suspended", suspended),
        ]
        .into_iter()
        .filter_map(|(name, held)| held.as_ref().map(|held| (name, held)))
        .collect()
    }

    /// What a person can do next, the most pressing first.
    fn hints(&self, now: Timestamp) -> Vec<String> {
        let tenant = &self.tenant;
        let mut hints = Vec::new();
        for (name, _) in self.holding() {
            hints.push(match name {
                "daemon_paused" => "nothing is sent for anyone: roasd resume".to_owned(),
                "suspended" => {
                    "a vendor does not accept roasd: see the reason, then roasd check".to_owned()
                }
                _ => format!("nothing is sent for {tenant}: roasd resume {tenant}"),
            });
        }
        if !self.breakers.is_empty() {
            hints.push(format!(
                "a breaker holds changes of {tenant}; when you know why: roasd resume {tenant}"
            ));
        }
        let waiting = self.count(ChangeState::AwaitingApproval);
        if waiting > 0 {
            let (s, wait) = if waiting == 1 {
                ("", "waits")
            } else {
                ("s", "wait")
            };
            hints.push(format!(
                "{waiting} change{s} {wait} for approval: roasd changes list --tenant {tenant}"
            ));
        }
        if self.inbox.quarantined > 0 {
            let n = self.inbox.quarantined;
            hints.push(format!(
                "{n} {} in quarantine: roasd quarantine list --tenant {tenant}",
                if n == 1 {
                    "delivery is"
                } else {
                    "deliveries are"
                }
            ));
        }
        let Some(settings) = &self.settings else {
            hints.push(format!(
                "{tenant} is not in the configuration: nothing is done for it"
            ));
            return hints;
        };
        let quality = &settings.settings.quality;
        match self.insights_at {
            None => hints.push("no figures of Meta yet: is the daemon running?".to_owned()),
            Some(at) if time::between(at, now) > quality.max_insight_age => hints.push(format!(
                "figures of Meta are too old to act on ({}): is the daemon running?",
                ago(at, now)
            )),
            Some(_) => {}
        }
        let verdict = self
            .coverage
            .judge(quality.min_coverage, quality.coverage_min_conversions);
        if verdict == crate::domain::coverage::CoverageVerdict::Below {
            hints.push(format!(
                "attribution is below its floor of {}, so budgets are held: roasd coverage {tenant}",
                quality.min_coverage
            ));
        }
        if self.faulty_deals > 0 {
            hints.push(format!(
                "{} deals cannot be valued (a currency without a rate, or an unknown stage)",
                self.faulty_deals
            ));
        }
        for (kind, record) in &self.records {
            let level = settings.settings.autonomy.for_action(*kind);
            if level == Autonomy::Approve && record.speaks_for_auto() {
                hints.push(format!(
                    "{RECORD_DAYS} days, {} of {} of your decisions on a {kind} were approvals; \
                     autonomy = {{ {kind} = \"auto\", … }} would do without you",
                    record.approved,
                    record.decided()
                ));
            }
        }
        if settings.settings.autonomy.only_observes() && self.decided_at.is_some() {
            hints.push(
                "it only observes; when you agree with its decisions set autonomy = \"approve\""
                    .to_owned(),
            );
        }
        hints
    }

    fn job(&self, name: &str) -> Option<&JobStatus> {
        self.jobs.iter().find(|job| job.job == name)
    }

    fn print(&self, now: Timestamp, out: Out<'_>) -> std::io::Result<()> {
        writeln!(out)?;
        match &self.settings {
            Some(tenant) => writeln!(
                out,
                "{} ({}): {} mode, autonomy {}",
                self.tenant, tenant.settings.name, tenant.settings.mode, tenant.settings.autonomy
            )?,
            None => writeln!(out, "{}: not configured", self.tenant)?,
        }
        for (name, held) in self.holding() {
            writeln!(
                out,
                "  {} by {} since {}: {}",
                name.replace('_', " ").to_uppercase(),
                held.by,
                when(held.since, now),
                clean(&held.reason)
            )?;
        }
        for trip in &self.breakers {
            writeln!(
                out,
                "  BREAKER {} tripped {}, lets go {}: {}",
                trip.breaker,
                when(trip.since, now),
                when(trip.until, now),
                clean(&trip.reason)
            )?;
        }
        let last = |name: &str| {
            self.job(name)
                .and_then(|job| job.last_success)
                .map_or_else(|| "never".to_owned(), |at| when(at, now))
        };
        writeln!(out, "  last sync     {}", last("sync"))?;
        let decided = self
            .decided_at
            .map_or_else(|| "never".to_owned(), |at| when(at, now));
        writeln!(out, "  last decided  {decided}")?;
        writeln!(out, "  last executed {}", last("executor"))?;
        for job in &self.jobs {
            // What last ended without success says why.
            if job.last_end > job.last_success && !job.detail.is_empty() {
                writeln!(out, "  {} has trouble: {}", job.job, clean(&job.detail))?;
            }
        }
        let pulled = self
            .insights_at
            .map_or_else(|| "none yet".to_owned(), |at| when(at, now));
        writeln!(out, "  Meta's figures of {pulled}")?;
        for row in &self.gate {
            let limit = row
                .scope
                .split_once('/')
                .map_or("account", |(_, case)| case);
            let text = format!("  gate to Meta  {limit}: {}", gate_text(row, now));
            writeln!(out, "{}", clean(&text))?;
        }
        let oldest = self.inbox.oldest_at.map_or_else(String::new, |at| {
            format!(", the oldest from {}", ago(at, now))
        });
        writeln!(
            out,
            "  inbox         {} waiting{oldest}, {} in quarantine",
            self.inbox.waiting, self.inbox.quarantined
        )?;
        let open: Vec<String> = self
            .changes
            .iter()
            .filter(|(state, _)| state.is_open())
            .map(|(state, count)| format!("{count} {}", state.as_str().replace('_', " ")))
            .collect();
        writeln!(
            out,
            "  open changes  {}",
            if open.is_empty() {
                "none".to_owned()
            } else {
                open.join(", ")
            }
        )?;
        if let Some(money) = &self.money {
            let roas = |roas: Option<f64>| {
                roas.map_or_else(String::new, |roas| format!(" (ROAS {})", short(roas)))
            };
            writeln!(
                out,
                "  last {DAYS} days   spend {}, pipeline {}{}, cash {}{}",
                money.spend,
                money.pipeline,
                roas(money.pipeline_roas()),
                money.cash,
                roas(money.cash_roas()),
            )?;
        }
        writeln!(out, "  attribution   {}", self.coverage)?;
        for hint in self.hints(now) {
            writeln!(out, "  -> {hint}")?;
        }
        Ok(())
    }

    fn to_json(&self, now: Timestamp) -> Value {
        let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
        let holds: Map<String, Value> = self
            .holding()
            .into_iter()
            .map(|(name, held)| {
                let held = json!({
                    "by": held.by, "reason": held.reason, "since": held.since.to_string(),
                });
                (name.to_owned(), held)
            })
            .collect();
        let jobs: Map<String, Value> = self
            .jobs
            .iter()
            .map(|job| {
                let told = json!({
                    "last_success": at(job.last_success),
                    "last_end": at(job.last_end),
                    "detail": job.detail,
                });
                (job.job.clone(), told)
            })
            .collect();
        let changes: Map<String, Value> = self
            .changes
            .iter()
            .map(|(state, count)| (state.as_str().to_owned(), json!(count)))
            .collect();
        let money =
            |money: Money| json!({ "minor": money.minor(), "currency": money.currency().code() });
        let settings = self.settings.as_ref().map(|tenant| &tenant.settings);
        json!({
            "id": self.tenant.as_str(),
            "name": settings.map(|s| s.name.clone()),
            "mode": settings.map(|s| s.mode.to_string()),
            "autonomy": settings.map(|s| s.autonomy.to_string()),
            "holds": holds,
            "decided_by_people": self.records.iter().map(|(kind, record)| json!({
                "action": kind.as_str(), "days": RECORD_DAYS,
                "approved": record.approved, "rejected": record.rejected,
            })).collect::<Vec<_>>(),
            "breakers": self.breakers.iter().map(|trip| json!({
                "breaker": trip.breaker.as_str(),
                "since": trip.since.to_string(),
                "until": trip.until.to_string(),
                "reason": trip.reason,
            })).collect::<Vec<_>>(),
            "stages": jobs,
            "last_decided_at": at(self.decided_at),
            "insights_at": at(self.insights_at),
            "inbox": {
                "waiting": self.inbox.waiting,
                "oldest_at": at(self.inbox.oldest_at),
                "quarantined": self.inbox.quarantined,
            },
            "changes": changes,
            "last_7_days": self.money.as_ref().map(|week| json!({
                "spend": money(week.spend),
                "pipeline": money(week.pipeline),
                "cash": money(week.cash),
                "pipeline_roas": week.pipeline_roas(),
                "cash_roas": week.cash_roas(),
            })),
            "attribution": {
                "url_param": self.coverage.url_param,
                "fingerprint": self.coverage.fingerprint,
                "probabilistic": self.coverage.probabilistic,
                "unattributed": self.coverage.unattributed,
                "share": self.coverage.share(),
            },
            "faulty_deals": self.faulty_deals,
            "gate": self.gate.iter().map(gate_json).collect::<Vec<_>>(),
            "hints": self.hints(now),
        })
    }
}

/// Spend and revenue of the account's last seven days, today included.
async fn week(
    tenant: &TenantId,
    currency: Currency,
    zone: &TimeZone,
    ctx: &CliContext,
) -> anyhow::Result<WeekOfMoney> {
    let first = time::add_days(time::day_of(ctx.now(), zone), 1 - DAYS);
    let mut week = WeekOfMoney {
        spend: Money::zero(currency),
        pipeline: Money::zero(currency),
        cash: Money::zero(currency),
    };
    for (_, spend) in ctx.store.spend_by_day(tenant, first).await? {
        week.spend = week.spend.checked_add(spend)?;
    }
    let from = time::day_start(first, zone);
    for (_, totals) in ctx.store.revenue_by_ad(tenant, from).await? {
        week.pipeline = week.pipeline.checked_add(totals.pipeline)?;
        week.cash = week.cash.checked_add(totals.cash)?;
    }
    Ok(week)
}

/// How people decided lately, by kind of action.
async fn records(
    tenant: &TenantId,
    now: Timestamp,
    ctx: &CliContext,
) -> anyhow::Result<Vec<(ActionKind, TrackRecord)>> {
    let filter = ChangeFilter {
        tenant: Some(tenant.clone()),
        states: Vec::new(),
        limit: 5_000,
    };
    let changes = ctx.store.changes(&filter).await?;
    let since = time::sub(now, time::days(RECORD_DAYS));
    let record = |kind| (kind, track_record(&changes, kind, since));
    Ok(ActionKind::ALL
        .into_iter()
        .map(record)
        .filter(|(_, record)| record.decided() > 0)
        .collect())
}
