//! A version beside another: on simulated markets, and by what came of its forecasts.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::context::{CliContext, Out, actor, print_json};
use super::super::evaluate::policies::played;
use super::super::table::TextTable;
use super::super::{Exit, complain};
use super::Named;
use crate::actors::context::TenantSettings;
use crate::daemon::Parts;
use crate::domain::ids::{AdId, TenantId};
use crate::domain::model::promotion::OnMarkets;
use crate::domain::model::trial::{self, Case, Comparison};
use crate::domain::model::{BUDGETS, Candidate};
use crate::domain::policy::Outcome;
use crate::domain::revenue::{Valuation, valuation};
use crate::domain::stages;
use crate::domain::time::{self, SignedDuration, TimeZone, Timestamp};
use crate::evaluation::markets::score::{Verdict, scores};
use crate::evaluation::markets::{CHAMPION, Contender, Purpose};
use crate::store::decisions::inputs_from_json;
use crate::store::models::ModelVersion;

/// What a forecast is held against: what an ad's spend of so long brought.
const WINDOW: SignedDuration = time::days(7);

/// How a version fared on simulated markets, as it was kept.
pub(super) fn markets_of(version: &ModelVersion) -> Option<(String, Vec<OnMarkets>)> {
    let kept: Value = serde_json::from_str(version.evaluation_json.as_deref()?).ok()?;
    let against = kept["against"].as_str()?.to_owned();
    let kinds = kept["kinds"].as_array()?.iter().filter_map(|kind| {
        Some(OnMarkets {
            kind: kind["kind"].as_str()?.to_owned(),
            markets: kind["markets"].as_u64()?,
            mean: kind["mean"].as_f64()?,
            interval: (
                kind["interval_95"][0].as_f64()?,
                kind["interval_95"][1].as_f64()?,
            ),
            broken: u32::try_from(kind["guards_broken"].as_u64()?).ok()?,
        })
    });
    Some((against, kinds.collect()))
}

pub(super) fn markets_told(found: &Option<(String, Vec<OnMarkets>)>) -> String {
    let Some((against, kinds)) = found else {
        return "not tried".to_owned();
    };
    let each: Vec<String> = kinds
        .iter()
        .map(|on| {
            let verdict = match Verdict::of(on.interval) {
                Verdict::Above => "above",
                Verdict::Tie => "like",
                Verdict::Below => "below",
            };
            format!("{} {:+.1}, {verdict}", on.kind, on.mean)
        })
        .collect();
    format!("{} {against}", each.join("; "))
}

pub(super) async fn evaluate(
    (version, tried): Named<'_>,
    (first_name, first): Named<'_>,
    count: u64,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let contenders = Contender::trial(tried, first);
    let boards = played(Purpose::Reporting, &contenders, count);
    let mut found = Vec::new();
    for board in &boards {
        let scored = scores(board, &contenders);
        let of_champion = scored.iter().find(|score| score.name == CHAMPION);
        if let Some(difference) = of_champion.and_then(|score| score.ours_less) {
            found.push(OnMarkets {
                kind: board.kind.as_str().to_owned(),
                markets: count,
                mean: difference.mean,
                interval: difference.mean_interval,
                broken: scored.iter().map(|score| score.broken).sum(),
            });
        }
    }
    let kinds: Vec<Value> = found
        .iter()
        .map(|on| {
            json!({
                "kind": on.kind, "markets": on.markets, "mean": on.mean,
                "interval_95": [on.interval.0, on.interval.1], "guards_broken": on.broken,
            })
        })
        .collect();
    let kept = json!({
        "against": first_name.as_str(), "release": env!("CARGO_PKG_VERSION"), "kinds": kinds,
    });
    let (by, now) = (actor(), ctx.now());
    ctx.store
        .record_evaluation(BUDGETS, version, &kept.to_string(), &by, now)
        .await?;
    if ctx.json {
        print_json(
            out,
            &json!({ "version": version.as_str(), "evaluation": kept }),
        )?;
        return Ok(Exit::Done);
    }
    let heads = [
        "business",
        "markets",
        "earned more than the champion",
        "95 %",
        "",
    ];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[1, 2]);
    for on in &found {
        table.row([
            on.kind.clone(),
            on.markets.to_string(),
            format!("{:+.1}", on.mean),
            format!("{:+.1} to {:+.1}", on.interval.0, on.interval.1),
            Verdict::of(on.interval).as_str().to_owned(),
        ]);
    }
    writeln!(
        out,
        "{version} beside {first_name}, in hundredths of what the markets bring with budgets left alone\n{}",
        table.render()
    )?;
    Ok(Exit::Done)
}

pub(super) async fn compare(
    (version, tried): Named<'_>,
    (first_name, first): Named<'_>,
    tenant: Option<&TenantId>,
    days: u32,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    if let Err(unknown) = ctx.chosen(tenant).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let found = forecasts(first, tried, tenant, days, ctx).await?;
    if ctx.json {
        print_json(
            out,
            &json!({
                "versions": [first_name.as_str(), version.as_str()],
                "weeks": found.blocks,
                "ads": found.cases,
                "expected_over_came": found.bias,
                "deviance_a_week": found.deviance,
                "difference": found.difference,
                "interval_90": [finite(found.interval.0), finite(found.interval.1)],
            }),
        )?;
        return Ok(Exit::Done);
    }
    if found.cases == 0 {
        writeln!(
            out,
            "nothing to hold them against yet: of no week of decisions is it known what came of it. A\n\
             forecast of {} days is judged a sales cycle after its end.",
            WINDOW.as_hours() / 24
        )?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    writeln!(
        text,
        "{} weeks of tenants, {} ads in them; each said before what the week's spend would bring",
        found.blocks, found.cases
    )?;
    let heads = ["version", "said, over what came", "deviance a week"];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[1, 2]);
    for (name, bias, deviance) in [
        (first_name, found.bias[0], found.deviance[0]),
        (version, found.bias[1], found.deviance[1]),
    ] {
        table.row([
            name.to_string(),
            bias.map_or_else(|| "nothing came".to_owned(), |b| format!("{b:.2}")),
            format!("{deviance:.2}"),
        ]);
    }
    let (low, high) = found.interval;
    let verdict = if high < 0.0 {
        format!("{version} forecast better")
    } else if low > 0.0 {
        format!("{version} forecast worse")
    } else {
        "that may be chance".to_owned()
    };
    writeln!(
        text,
        "{}\n\ndifference {:+.2} ({low:+.2} to {high:+.2}, 90 %): {verdict}. Less deviance is better. Both\n\
         as the configuration is now. Forecasts are compared, not decisions: what the other's would have\n\
         earned, nobody knows.",
        table.render(),
        found.difference
    )?;
    out.write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Both versions' forecasts, from the inputs of runs a week apart, against what came of these weeks.
pub(super) async fn forecasts(
    first: Candidate,
    tried: Candidate,
    tenant: Option<&TenantId>,
    days: u32,
    ctx: &CliContext,
) -> anyhow::Result<Comparison> {
    let parts = Parts::of(&ctx.config)?;
    let mut cases = Vec::new();
    for settings in parts.tenants.values().map(|tenant| &tenant.settings) {
        if tenant.is_none_or(|only| *only == settings.id) {
            weeks(settings, [first, tried], days, &mut cases, ctx).await?;
        }
    }
    Ok(trial::compare(&cases))
}

async fn weeks(
    tenant: &TenantSettings,
    versions: [Candidate; 2],
    days: u32,
    cases: &mut Vec<Case>,
    ctx: &CliContext,
) -> anyhow::Result<()> {
    let (store, now) = (&ctx.store, ctx.now());
    let Some((structure, _)) = store.structure(&tenant.id).await? else {
        return Ok(());
    };
    let zone = structure.account.time_zone().unwrap_or(TimeZone::UTC);
    // A week's deals have to have had their time.
    let cycle = (tenant.params.sales_cycle_days * 86_400_000.0).clamp(0.0, 3.2e10) as i64;
    let until = time::sub(time::sub(now, WINDOW), time::millis(cycle));
    let mut after = time::sub(now, time::days(i64::from(days)));
    let deals = store.deals_since(&tenant.id, after).await?;
    let since = time::day_of(after, &zone);
    let delivered = store.daily_insights(&tenant.id, since).await?;
    while let Some(run) = store.run_after(&tenant.id, after, until).await? {
        after = run.at;
        let Ok(mut inputs) = inputs_from_json(&run.inputs_json) else {
            continue;
        };
        inputs.params = tenant.params;
        let ends = time::add(run.at, WINDOW);
        let is_in = |at: Timestamp| run.at <= at && at < ends;
        let mut spent: BTreeMap<&AdId, f64> = BTreeMap::new();
        for row in &delivered {
            if is_in(row.window.begins(&zone)) {
                *spent.entry(&row.ad).or_default() += row.spend.to_f64();
            }
        }
        let mut came: BTreeMap<&AdId, f64> = BTreeMap::new();
        for deal in &deals {
            let begun = stages::progress(&deal.deal, &tenant.stages).entered_at;
            let Some(credit) = &deal.attribution else {
                continue;
            };
            if !begun.into_iter().flatten().min().is_some_and(is_in) {
                continue;
            }
            if let Ok(Valuation::Known { amount, .. }) =
                valuation(&deal.deal, &tenant.stages, &tenant.fx, tenant.currency)
            {
                *came.entry(&credit.credit.ad).or_default() += credit.confidence * amount.to_f64();
            }
        }
        let outcomes = versions.map(|version| version.decide(&inputs));
        let [first, _] = &outcomes;
        let unit = first.account.value_of_win;
        let said = outcomes.each_ref().map(expected);
        // The runs of one week are one block: its luck is one.
        let block = cases.last().map_or(0, |case: &Case| case.block + 1);
        for (ad, spend) in spent.iter().filter(|(_, spend)| **spend > 0.0) {
            let [Some(a), Some(b)] = said.each_ref().map(|said| said.get(*ad)) else {
                continue;
            };
            cases.push(Case {
                block,
                expected: [a * spend, b * spend],
                came: came.get(*ad).copied().unwrap_or(0.0),
                unit,
            });
        }
        after = time::sub(ends, time::millis(1));
    }
    Ok(())
}

/// What one unit spent on each ad is expected to bring.
fn expected(outcome: &Outcome) -> BTreeMap<&AdId, f64> {
    let each = outcome.readings.iter();
    each.map(|reading| (&reading.ad, reading.belief.mean_roas))
        .collect()
}
