//! `roasd structure`: who holds the budgets of an account, what roasd works on, and what it leaves
//! alone and why.

use serde_json::json;

use super::context::{CliContext, Out, ago, clean, print_json};
use super::table::TextTable;
use super::{Exit, complain};
use crate::domain::ids::TenantId;
use crate::domain::manage::Manage;
use crate::domain::safety::worst_day_factor;
use crate::domain::structure::{Budget, EntityRef, Structure};

/// What `structure` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct StructureArgs {
    /// Of this tenant only.
    pub tenant: Option<TenantId>,
}

/// One holder of a budget.
struct Row {
    entity: EntityRef,
    name: String,
    campaign: String,
    budget: Budget,
    effective: String,
    learning: Option<String>,
    worst_day: f64,
    left_alone: Option<String>,
}

fn rows(structure: &Structure, manage: &Manage) -> Vec<Row> {
    let campaigns = structure
        .campaigns
        .values()
        .filter(|campaign| campaign.budget != Budget::None)
        .map(|c| (EntityRef::Campaign(c.id.clone()), &c.effective.0, None));
    // Under a campaign's budget an ad set has none: the campaign's row speaks for it.
    let sets = structure
        .ad_sets
        .values()
        .filter(|set| matches!(structure.budget_owner(set), EntityRef::AdSet(_)))
        .map(|set| {
            let learning = set.learning.as_ref().map(|l| l.status.clone());
            (EntityRef::AdSet(set.id.clone()), &set.effective.0, learning)
        });
    let mut rows: Vec<Row> = campaigns
        .chain(sets)
        .filter_map(|(entity, effective, learning)| {
            let (budget, name, _) = structure.settings(&entity)?;
            let campaign = structure.campaign_of(&entity);
            let why = manage.budget_hands_off(structure, &entity);
            Some(Row {
                name: name.to_owned(),
                campaign: campaign.map(|c| c.name.clone()).unwrap_or_default(),
                budget,
                effective: effective.clone(),
                learning,
                worst_day: worst_day_factor(campaign.is_some_and(|c| c.shares_budgets)),
                left_alone: why.map(|why| why.to_string()),
                entity,
            })
        })
        .collect();
    rows.sort_by(|a, b| (&a.campaign, &a.name, &a.entity).cmp(&(&b.campaign, &b.name, &b.entity)));
    rows
}

fn budget(budget: Budget) -> String {
    match budget {
        Budget::Daily(money) => format!("{money} a day"),
        Budget::Lifetime(money) => format!("{money} in all"),
        Budget::None => "none".to_owned(),
    }
}

/// Shows the structure.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &StructureArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let tenants = match ctx.chosen(args.tenant.as_ref()).await? {
        Ok(tenants) => tenants,
        Err(unknown) => {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
    };
    let mut reports = Vec::new();
    for tenant in &tenants {
        let manage = ctx.config.tenants.get(tenant);
        let manage = manage.map(|t| t.settings.manage()).unwrap_or_default();
        let known = ctx.store.structure(tenant).await?;
        let Some((structure, read_at)) = known else {
            if ctx.json {
                reports.push(json!({ "tenant": tenant.as_str(), "read_at": null }));
            } else {
                writeln!(
                    out,
                    "{tenant}: the account was never read; is the daemon running?"
                )?;
            }
            continue;
        };
        let rows = rows(&structure, &manage);
        if ctx.json {
            let rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    json!({
                        "entity": { "kind": row.entity.kind().as_str(), "id": row.entity.id() },
                        "name": row.name,
                        "campaign": row.campaign,
                        "budget": budget(row.budget),
                        "effective_status": row.effective,
                        "learning": row.learning,
                        "worst_day": row.worst_day,
                        "left_alone": row.left_alone,
                    })
                })
                .collect();
            reports.push(json!({
                "tenant": tenant.as_str(), "read_at": read_at.to_string(),
                "account": structure.account.id.to_string(), "budgets": rows,
            }));
            continue;
        }
        let left = rows.iter().filter(|row| row.left_alone.is_some()).count();
        writeln!(
            out,
            "{tenant}: ad account {}, read {}; {} holders of a budget, {left} left alone",
            structure.account.id,
            ago(read_at, ctx.now()),
            rows.len()
        )?;
        let heads = [
            "campaign",
            "holds the budget",
            "budget",
            "worst day",
            "status",
            "roasd",
        ];
        let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[2, 3]);
        for row in &rows {
            let status = match &row.learning {
                Some(learning) => format!("{}, {}", row.effective, learning.to_lowercase()),
                None => row.effective.clone(),
            };
            table.row([
                clean(&row.campaign),
                format!("{} ({})", clean(&row.name), row.entity),
                budget(row.budget),
                format!("x {:.2}", row.worst_day),
                clean(&status),
                row.left_alone.as_ref().map_or_else(
                    || "moves it".to_owned(),
                    |why| format!("leaves it: {}", clean(why)),
                ),
            ]);
        }
        writeln!(out, "{}", table.render())?;
    }
    if ctx.json {
        print_json(out, &json!({ "tenants": reports }))?;
    }
    Ok(Exit::Done)
}
