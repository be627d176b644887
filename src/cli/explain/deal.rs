//! Why a deal is credited to its ad, or to none: what each layer answered, how sure, and who else it
//! might have been.

use std::fmt::Write as _;

use serde_json::json;

use super::super::context::{CliContext, Out, clean, print_json, when};
use crate::domain::attribution::Attempt;
use crate::domain::attribution::reliability::{self, Band};
use crate::domain::ids::{DealId, TenantId};
use crate::domain::rationale::paragraph::percent;
use crate::domain::time::Timestamp;
use crate::store::crm::CreditedDeal;

/// The deals of that id; more than one where tenants' CRMs count alike.
pub(super) async fn find(
    id: &str,
    ctx: &CliContext,
) -> anyhow::Result<Vec<(TenantId, CreditedDeal)>> {
    let mut found = Vec::new();
    let Ok(id) = DealId::new(id) else {
        return Ok(found);
    };
    for tenant in ctx.store.tenants().await? {
        if let Some(deal) = ctx.store.deal(&tenant, &id).await? {
            found.push((tenant, deal));
        }
    }
    Ok(found)
}

/// Explains the credit of deals.
pub(super) async fn explain(
    deals: &[(TenantId, CreditedDeal)],
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let mut text = String::new();
    for (tenant, deal) in deals {
        let attempts = ctx.store.attempts(tenant, &deal.deal.id).await?;
        let bands = ctx.store.reliability(tenant).await?;
        let band = deal.attribution.as_ref().and_then(|credit| {
            let tenth = reliability::tenth(credit.confidence);
            let mut bands = bands.iter();
            bands.find(|band| band.method == credit.method && band.tenth == tenth)
        });
        if ctx.json {
            all.push(as_json(tenant, deal, &attempts, band));
        } else {
            told(&mut text, tenant, deal, &attempts, ctx);
            if let Some(band) = band {
                let _ = writeln!(text, "\nhow often that is right\n  {}", band.in_words());
            }
        }
    }
    if ctx.json {
        return print_json(out, &json!({ "deals": all }));
    }
    out.write_all(clean(&text).as_bytes())?;
    Ok(())
}

fn told(
    text: &mut String,
    tenant: &TenantId,
    deal: &CreditedDeal,
    attempts: &[(Timestamp, Attempt)],
    ctx: &CliContext,
) {
    let id = &deal.deal.id;
    let _ = writeln!(
        text,
        "deal {id} of {tenant}, made {}",
        when(deal.deal.created_at, ctx.now())
    );
    match &deal.attribution {
        Some(credit) => {
            let _ = writeln!(
                text,
                "credited to ad {} by {}, {} sure{}\n  {}",
                credit.credit.ad,
                credit.method,
                percent(credit.confidence),
                credit.clicked_at.map_or_else(String::new, |at| format!(
                    ", clicked {}",
                    when(at, ctx.now())
                )),
                credit.reason,
            );
        }
        None => text.push_str("credited to no ad\n"),
    }
    text.push_str("\nwhat each layer answered last\n");
    if attempts.is_empty() {
        text.push_str(
            "  nothing is kept: it was not asked yet, or so long ago that it is forgotten\n",
        );
    }
    for (at, attempt) in attempts {
        let _ = writeln!(
            text,
            "  {} {}, {}: {}",
            attempt.method,
            if attempt.succeeded {
                "credits"
            } else {
                "does not"
            },
            when(*at, ctx.now()),
            attempt.reason,
        );
        for (ad, sure) in &attempt.runners_up {
            let _ = writeln!(text, "    runner-up: ad {ad}, {}", percent(*sure));
        }
    }
}

fn as_json(
    tenant: &TenantId,
    deal: &CreditedDeal,
    attempts: &[(Timestamp, Attempt)],
    band: Option<&Band>,
) -> serde_json::Value {
    let credit = deal.attribution.as_ref().map(|credit| {
        json!({
            "ad": credit.credit.ad.as_str(),
            "method": credit.method.as_str(),
            "confidence": credit.confidence,
            "visit": credit.visit.as_ref().map(|id| id.as_str()),
            "clicked_at": credit.clicked_at.map(|at| at.to_string()),
            "reason": credit.reason,
        })
    });
    let attempts: Vec<_> = attempts
        .iter()
        .map(|(at, attempt)| {
            let runners_up: Vec<_> = attempt
                .runners_up
                .iter()
                .map(|(ad, sure)| json!({ "ad": ad.as_str(), "confidence": sure }))
                .collect();
            json!({
                "method": attempt.method.as_str(),
                "at": at.to_string(),
                "succeeded": attempt.succeeded,
                "confidence": attempt.confidence,
                "reason": attempt.reason,
                "runners_up": runners_up,
            })
        })
        .collect();
    json!({
        "deal": deal.deal.id.as_str(),
        "tenant": tenant.as_str(),
        "credit": credit,
        "attempts": attempts,
        "reliability": band.map(|band| json!({
            "from": f64::from(band.tenth) / 10.0,
            "matched": band.matched,
            "said": band.said,
            "share_right": band.share_right(),
        })),
    })
}
