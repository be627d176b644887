//! `roasd stages`: what deals in each stage have really been worth, beside what is configured.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::context::{CliContext, Out, print_json};
use super::coverage::settings_of;
use super::table::TextTable;
use super::{Exit, complain};
use crate::actors::context::TenantSettings;
use crate::actors::housekeeper::worth;
use crate::domain::ids::TenantId;
use crate::domain::money::{Money, Rounding};
use crate::domain::worth::{Interval, StageWorth};

/// What `stages` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StagesArgs {
    /// Of this tenant only.
    pub tenant: Option<TenantId>,
}

/// Shows what stages are worth.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &StagesArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let tenants = match settings_of(args.tenant.as_ref(), ctx).await? {
        Ok(tenants) => tenants,
        Err(unknown) => {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
    };
    let mut all = Vec::new();
    for tenant in &tenants {
        let learned = worth::learn(ctx.store.as_ref(), tenant, ctx.now())
            .await
            .with_context(|| format!("the stages of {} cannot be judged", tenant.id))?;
        if ctx.json {
            let stages: Vec<Value> = learned
                .iter()
                .map(|stage| as_json(tenant, stage, ctx))
                .collect();
            all.push(json!({
                "tenant": tenant.id.as_str(),
                "currency": tenant.currency.code(),
                "stages": stages,
            }));
        } else {
            print(tenant, &learned, ctx, out)?;
        }
    }
    if ctx.json {
        print_json(out, &json!({ "tenants": all }))?;
    }
    Ok(Exit::Done)
}

/// The line of the configuration that would give a stage the value that its deals bear out.
pub(super) fn config_line(tenant: &TenantSettings, stage: &StageWorth) -> String {
    let found = tenant.stages.by_name(&stage.stage);
    let confidence = found.map_or(1.0, |found| found.confidence);
    let mut line = format!(
        "{} = {{ value = \"{}\", confidence = {confidence:.2}",
        stage.stage,
        stage.suggested().to_decimal(),
    );
    let ids: Vec<&str> = found
        .iter()
        .flat_map(|found| found.vendor_ids.iter().map(|id| id.as_str()))
        .filter(|id| *id != stage.stage.as_str())
        .collect();
    if !ids.is_empty() {
        let _ = write!(line, ", hubspot_stage = {ids:?}");
    }
    line.push_str(" }");
    line
}

/// Whole main units, or what is nearest.
fn money(main: f64, tenant: &TenantSettings) -> Money {
    Money::from_f64(main, tenant.currency, Rounding::Nearest)
        .unwrap_or_else(|_| Money::zero(tenant.currency))
}

fn rate(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn print(
    tenant: &TenantSettings,
    learned: &[StageWorth],
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<()> {
    writeln!(out, "{} ({})", tenant.id, tenant.name)?;
    let heads = [
        "stage",
        "configured",
        "learned",
        "9 in 10 between",
        "deals",
        "won",
        "lost",
        "won in the end",
        "9 in 10 between",
        "days to won",
    ];
    let right: Vec<usize> = (1..heads.len()).collect();
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&right);
    for stage in learned {
        let Interval { mid, low, high } = stage.worth;
        let amount = |main| money(main, tenant).to_decimal();
        table.row([
            stage.stage.to_string(),
            stage.configured.to_decimal(),
            amount(mid),
            format!("{} – {}", amount(low), amount(high)),
            stage.deals.to_string(),
            stage.won.to_string(),
            stage.lost.to_string(),
            rate(stage.rate.mid),
            format!("{} – {}", rate(stage.rate.low), rate(stage.rate.high)),
            format!("{:.1}", stage.days_to_won),
        ]);
    }
    writeln!(out, "{}\n", table.render())?;
    let drifting: Vec<&StageWorth> = learned.iter().filter(|stage| stage.drifts()).collect();
    if drifting.is_empty() {
        writeln!(
            out,
            "  nothing contradicts the configured values; amounts are {}\n",
            tenant.currency
        )?;
        return Ok(());
    }
    for stage in &drifting {
        writeln!(out, "  {}", stage.sentence())?;
    }
    writeln!(
        out,
        "  the configured values stay in force until you change them: [tenants.{}.stages], which \
         names all stages",
        tenant.id
    )?;
    for stage in &drifting {
        writeln!(out, "    {}", config_line(tenant, stage))?;
    }
    writeln!(out)?;
    Ok(())
}

fn as_json(tenant: &TenantSettings, stage: &StageWorth, ctx: &CliContext) -> Value {
    let interval = |of: Interval| json!({ "mid": of.mid, "low": of.low, "high": of.high });
    let minor = |main| money(main, tenant).minor();
    let Interval { mid, low, high } = stage.worth;
    let description = ctx.config.tenants.get(&tenant.id).and_then(|known| {
        let mut stages = known.stages.iter();
        let found = stages.find(|known| known.value.name == stage.stage)?;
        found.description.clone()
    });
    json!({
        "stage": stage.stage.as_str(),
        "description": description,
        "configured_minor": stage.configured.minor(),
        "learned_minor": { "mid": minor(mid), "low": minor(low), "high": minor(high) },
        "deals": stage.deals,
        "won": stage.won,
        "lost": stage.lost,
        "open": stage.deals - stage.won - stage.lost,
        "known_deals": stage.known,
        "rate_to_won": interval(stage.rate),
        "days_to_won": stage.days_to_won,
        "drifts": stage.drifts(),
        "sentence": stage.sentence(),
        "config_line": config_line(tenant, stage),
    })
}
