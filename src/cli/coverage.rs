//! `roasd coverage`: which share of conversions is credited to an ad, day by day and by layer, beside
//! what Meta counts, and why the others are not.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::context::{CliContext, Out, print_json};
use super::table::TextTable;
use super::{Exit, complain};
use crate::actors::context::TenantSettings;
use crate::daemon::Parts;
use crate::domain::attribution::reliability::Band;
use crate::domain::coverage::{Coverage, CoverageDays, CoverageVerdict};
use crate::domain::ids::TenantId;
use crate::domain::time::{self, Date, TimeZone};

/// The days shown unless asked otherwise.
const DAYS: u32 = 14;

/// What `coverage` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct CoverageArgs {
    /// Of this tenant only.
    pub tenant: Option<TenantId>,
    /// How many days, today included; visits are kept for 90 unless configured otherwise.
    #[arg(long, default_value_t = DAYS, value_parser = clap::value_parser!(u32).range(1..=366))]
    pub days: u32,
}

/// The settings of the tenants that a command is about: of those configured, since values, rates and
/// windows are the configuration's. `Err` is what to tell somebody.
pub(super) async fn settings_of(
    named: Option<&TenantId>,
    ctx: &CliContext,
) -> anyhow::Result<Result<Vec<TenantSettings>, String>> {
    let tenants = match ctx.chosen(named).await? {
        Ok(tenants) => tenants,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let mut parts = Parts::of(&ctx.config)?;
    let known = tenants
        .into_iter()
        .filter_map(|id| parts.tenants.remove(&id));
    let found: Vec<_> = known.map(|tenant| tenant.settings).collect();
    Ok(if found.is_empty() {
        Err("no such tenant is in the configuration: nothing is counted for it".to_owned())
    } else {
        Ok(found)
    })
}

/// One tenant's coverage.
pub(super) struct Report {
    /// The ad account's days.
    pub(super) days: CoverageDays,
    /// The count that the guard goes by.
    pub(super) guard: Coverage,
    /// What the guard makes of it.
    pub(super) verdict: CoverageVerdict,
    /// How often matches by device and likelihood are right.
    pub(super) reliability: Vec<Band>,
}

impl Report {
    /// Counts `days` days up to today.
    pub(super) async fn gather(
        tenant: &TenantSettings,
        days: u32,
        ctx: &CliContext,
    ) -> anyhow::Result<Self> {
        let (store, id) = (&ctx.store, &tenant.id);
        let now = ctx.now();
        let structure = store.structure(id).await?;
        let zone = structure
            .and_then(|(structure, _)| structure.account.time_zone())
            .unwrap_or(TimeZone::UTC);
        let last = time::day_of(now, &zone);
        let first = time::add_days(last, 1 - i64::from(days));
        let from = time::day_start(first, &zone);
        let cohorts = store.coverage(id, from, tenant.currency).await?;
        let by_meta = by_meta(tenant, first, ctx).await?;
        let quality = &tenant.limits.quality;
        let window = time::sub(now, quality.coverage_window);
        let guard = Coverage::of(&store.coverage(id, window, tenant.currency).await?);
        Ok(Self {
            days: CoverageDays::of(&cohorts, &by_meta, &zone, first, last),
            verdict: guard.judge(quality.min_coverage, quality.coverage_min_conversions),
            guard,
            reliability: store.reliability(id).await?,
        })
    }
}

/// What Meta counts of the tenant's result action, by day; a day without figures is left out.
async fn by_meta(
    tenant: &TenantSettings,
    first: Date,
    ctx: &CliContext,
) -> anyhow::Result<BTreeMap<Date, f64>> {
    let mut counts = BTreeMap::new();
    for row in ctx.store.daily_insights(&tenant.id, first).await? {
        let mine = row
            .actions
            .iter()
            .filter(|a| a.kind == tenant.result_action);
        *counts.entry(row.window.day()).or_default() += mine.map(|a| a.count).sum::<f64>();
    }
    Ok(counts)
}

/// Shows the coverage.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &CoverageArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let tenants = match settings_of(args.tenant.as_ref(), ctx).await? {
        Ok(tenants) => tenants,
        Err(unknown) => {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
    };
    let mut all = Vec::new();
    for tenant in &tenants {
        let report = Report::gather(tenant, args.days, ctx)
            .await
            .with_context(|| format!("the coverage of {} cannot be counted", tenant.id))?;
        if ctx.json {
            all.push(as_json(tenant, &report));
        } else {
            print(tenant, &report, ctx, out)?;
        }
    }
    if ctx.json {
        print_json(out, &json!({ "tenants": all }))?;
    }
    Ok(Exit::Done)
}

/// A share for people.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn part(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// What the guard makes of the share.
pub(super) fn verdict_in_words(tenant: &TenantSettings, report: &Report) -> String {
    let quality = &tenant.limits.quality;
    match report.verdict {
        CoverageVerdict::TooFew => format!(
            "too few to judge: the floor of {} counts from {} conversions on",
            quality.min_coverage, quality.coverage_min_conversions
        ),
        CoverageVerdict::Enough => format!("above the floor of {}", quality.min_coverage),
        CoverageVerdict::Below => {
            format!(
                "BELOW the floor of {}: budgets are held",
                quality.min_coverage
            )
        }
    }
}

fn print(
    tenant: &TenantSettings,
    report: &Report,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<()> {
    writeln!(out, "{} ({})", tenant.id, tenant.name)?;
    writeln!(
        out,
        "  the guard's window of {:#}: {}; {}\n",
        tenant.limits.quality.coverage_window,
        report.guard,
        verdict_in_words(tenant, report),
    )?;
    let meta = format!("Meta's {}s", tenant.result_action);
    let heads = [
        "day",
        "deals",
        "by id",
        "device",
        "likely",
        "no ad",
        "credited",
        &meta,
        "of Meta's",
    ];
    let right: Vec<usize> = (1..heads.len()).collect();
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&right);
    let total = (&report.days.total, report.days.by_meta());
    let days = report.days.days.iter();
    let rows = days
        .map(|day| (day.day.to_string(), (&day.coverage, day.by_meta)))
        .chain([("all".to_owned(), total)]);
    for (day, (coverage, by_meta)) in rows {
        let credited = coverage.credited() as f64;
        table.row([
            day,
            coverage.conversions().to_string(),
            coverage.url_param.to_string(),
            coverage.fingerprint.to_string(),
            coverage.probabilistic.to_string(),
            coverage.unattributed.to_string(),
            percent(coverage.share()),
            by_meta.map_or_else(|| "–".to_owned(), |count| format!("{count:.0}")),
            percent(by_meta.and_then(|count| part(credited, count))),
        ]);
    }
    writeln!(out, "{}\n", table.render())?;
    if !report.days.gaps.is_empty() {
        gaps(report, ctx, out)?;
    }
    if !report.reliability.is_empty() {
        bands(report, ctx, out)?;
    }
    Ok(())
}

fn gaps(report: &Report, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<()> {
    let heads = ["no ad, since", "deals", "worth", "what to do"];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[1, 2]);
    for gap in &report.days.gaps {
        let (why, remedy) = gap.gap.map_or(
            ("nobody has looked since reasons are kept", "wait a little"),
            |gap| (gap.in_words(), gap.remedy()),
        );
        let (deals, value) = (gap.deals.to_string(), gap.value.to_string());
        table.row([why, &deals, &value, remedy]);
    }
    writeln!(out, "{}\n", table.render())?;
    Ok(())
}

/// How often matches are right, by what they say.
fn bands(report: &Report, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<()> {
    let heads = [
        "matches by",
        "that say",
        "on average",
        "were right",
        "of about",
    ];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[1, 2, 3, 4]);
    for band in &report.reliability {
        let from = u32::from(band.tenth) * 10;
        table.row([
            band.method.to_string(),
            format!("{from} – {} %", from + 10),
            percent(Some(band.said)),
            percent(Some(band.share_right())),
            format!("{:.0}", band.matched),
        ]);
    }
    writeln!(
        out,
        "How often that is right, by deals whose ad an id tells (the calibration was learned of the \
         same)\n{}\n",
        table.render()
    )?;
    Ok(())
}

fn as_json(tenant: &TenantSettings, report: &Report) -> Value {
    let counts = |coverage: &Coverage| {
        json!({
            "conversions": coverage.conversions(),
            "url_param": coverage.url_param,
            "fingerprint": coverage.fingerprint,
            "probabilistic": coverage.probabilistic,
            "unattributed": coverage.unattributed,
            "share": coverage.share(),
        })
    };
    let days: Vec<Value> = report
        .days
        .days
        .iter()
        .map(|day| {
            let mut told = counts(&day.coverage);
            told["day"] = json!(day.day.to_string());
            told["by_meta"] = json!(day.by_meta);
            told
        })
        .collect();
    let gaps: Vec<Value> = report
        .days
        .gaps
        .iter()
        .map(|gap| {
            json!({
                "gap": gap.gap.map(|gap| gap.as_str()),
                "deals": gap.deals,
                "minor": gap.value.minor(),
                "currency": gap.value.currency().code(),
                "reason": gap.gap.map(|gap| gap.in_words()),
                "remedy": gap.gap.map(|gap| gap.remedy()),
            })
        })
        .collect();
    let quality = &tenant.limits.quality;
    let verdict = match report.verdict {
        CoverageVerdict::TooFew => "too_few",
        CoverageVerdict::Enough => "enough",
        CoverageVerdict::Below => "below",
    };
    json!({
        "tenant": tenant.id.as_str(),
        "result_action": tenant.result_action,
        "guard": {
            "window_seconds": quality.coverage_window.as_secs(),
            "floor": quality.min_coverage.fraction(),
            "verdict": verdict,
            "count": counts(&report.guard),
        },
        "total": counts(&report.days.total),
        "by_meta": report.days.by_meta(),
        "days": days,
        "gaps": gaps,
        "reliability": report.reliability.iter().map(|band| json!({
            "method": band.method.as_str(),
            "from": f64::from(band.tenth) / 10.0,
            "matched": band.matched,
            "said": band.said,
            "share_right": band.share_right(),
        })).collect::<Vec<_>>(),
    })
}
