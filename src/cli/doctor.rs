//! `roasd doctor`: what is wrong with a tenant and its data, in numbers, with the remedy.

mod facts;
mod findings;

use anyhow::Context as _;
use serde_json::{Value, json};

pub use facts::{ContactCounts, Facts, VisitFacts};
pub use findings::{Finding, Severity, findings};

use super::check::online::{self, Standing, TenantPoints};
use super::context::{CliContext, Out, print_json};
use super::coverage::settings_of;
use super::table::TextTable;
use super::{Exit, complain};
use crate::domain::ids::TenantId;

/// What `doctor` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DoctorArgs {
    /// Of this tenant only.
    pub tenant: Option<TenantId>,
    /// Ask neither Meta nor HubSpot.
    #[arg(long)]
    pub offline: bool,
}

/// Looks and tells. Exit code 1 when something is wrong.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &DoctorArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let tenants = match settings_of(args.tenant.as_ref(), ctx).await? {
        Ok(tenants) => tenants,
        Err(unknown) => {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
    };
    let only = args.tenant.as_ref().map(TenantId::as_str);
    let asked = if args.offline {
        Vec::new()
    } else {
        online::ask(&ctx.config, only, |_| Ok(())).await?
    };
    let mut all = Vec::new();
    let mut is_wrong = false;
    for tenant in &tenants {
        let known = ctx.config.tenants.get(&tenant.id);
        let has_crm = known.is_some_and(|known| known.settings.hubspot.is_some());
        let facts = Facts::gather(tenant, has_crm, ctx)
            .await
            .with_context(|| format!("the data of {} cannot be looked at", tenant.id))?;
        let mut found = findings(tenant, &facts);
        let points = asked.iter().find(|told| told.tenant == tenant.id.as_str());
        found.extend(points.into_iter().flat_map(of_vendors));
        let found = findings::sorted(found);
        is_wrong |= found.iter().any(|one| one.severity == Severity::Wrong);
        if ctx.json {
            all.push(as_json(&tenant.id, &found));
        } else {
            writeln!(out, "{} ({})", tenant.id, tenant.name)?;
            print(&found, ctx, out)?;
        }
    }
    if ctx.json {
        print_json(
            out,
            &json!({ "tenants": all, "asked_vendors": !args.offline }),
        )?;
    }
    Ok(if is_wrong { Exit::Failed } else { Exit::Done })
}

/// What the vendors said that is not good.
fn of_vendors(told: &TenantPoints) -> impl Iterator<Item = Finding> {
    told.points.iter().filter_map(|point| {
        let severity = match point.standing {
            Standing::Good => return None,
            Standing::Doubtful => Severity::Weak,
            Standing::Bad => Severity::Wrong,
        };
        Some(Finding {
            kind: point.what,
            severity,
            evidence: point.found.clone(),
            remedy: point.remedy.clone(),
            money: None,
        })
    })
}

fn print(found: &[Finding], ctx: &CliContext, out: Out<'_>) -> anyhow::Result<()> {
    if found.is_empty() {
        writeln!(out, "  nothing is wrong\n")?;
        return Ok(());
    }
    let heads = ["", "kind", "money", "found", "what to do"];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[2]);
    for one in found {
        let money = one
            .money
            .map_or_else(String::new, |money| money.to_string());
        let severity = one.severity.as_str();
        table.row([severity, one.kind, &money, &one.evidence, &one.remedy]);
    }
    writeln!(out, "{}\n", table.render())?;
    Ok(())
}

fn as_json(tenant: &TenantId, found: &[Finding]) -> Value {
    let found: Vec<Value> = found
        .iter()
        .map(|one| {
            json!({
                "kind": one.kind,
                "severity": match one.severity {
                    Severity::Wrong => "wrong",
                    Severity::Weak => "weak",
                },
                "evidence": one.evidence,
                "remedy": one.remedy,
                "minor": one.money.map(|money| money.minor()),
                "currency": one.money.map(|money| money.currency().code().to_owned()),
            })
        })
        .collect();
    json!({ "tenant": tenant.as_str(), "findings": found })
}
