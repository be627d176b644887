//! What stages are worth. Nothing is kept: what a deal of the CRM brings enters the ledger from the CRM
//! alone.

use super::{LARGE_BODY_MAX, SMALL_BODY_MAX};
use crate::domain::api_token::Scope;
use crate::domain::deal::StageValue;
use crate::domain::ids::{StageName, VendorStageId};
use crate::domain::money::{Money, Rounding};
use crate::http::Problem;
use crate::http::api::route::{Body, Call, Reply, Route, Verb, Whose, bad_field, serve};
use crate::http::api::shape::{Shape, answer, request};
use crate::http::state::TenantApi;

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/api/ml/synthetic-revenue/calculate",
        scope: Scope::Read,
        whose: Whose::Token,
        about: "What a deal's step from one stage to another is worth.",
        query: &[],
        body: Some(Body {
            schema: StageStep::schema,
            max: SMALL_BODY_MAX,
            is_optional: false,
        }),
        answer: StepWorth::schema,
        serve: serve!(calculate),
    },
    Route {
        verb: Verb::Post,
        path: "/api/ml/synthetic-revenue/ad-roas",
        scope: Scope::Read,
        whose: Whose::Token,
        about: "The pipeline return of an ad whose deals took these steps.",
        query: &[],
        body: Some(Body {
            schema: AdSteps::schema,
            max: LARGE_BODY_MAX,
            is_optional: false,
        }),
        answer: AdRoas::schema,
        serve: serve!(ad_roas),
    },
    Route {
        verb: Verb::Post,
        path: "/api/ml/synthetic-revenue/get-stages",
        scope: Scope::Read,
        whose: Whose::Token,
        about: "The tenant's stages, the least valuable first.",
        query: &[],
        body: Some(Body {
            schema: Nothing::schema,
            max: SMALL_BODY_MAX,
            is_optional: true,
        }),
        answer: StageList::schema,
        serve: serve!(get_stages),
    },
];

request! {
    /// A deal's step from one stage to another.
    StageStep {
        /// The stage it was in; none for a new deal.
        stage_from: Option<String>,
        /// The stage it is in now.
        stage_to: String,
        /// The deal's own amount in main units; counts in a won stage.
        deal_value: Option<f64>,
    }

    /// What an ad spent, and the steps of its deals.
    AdSteps {
        /// What it spent, in main units.
        ad_spend: f64,
        /// The steps.
        stage_changes: Vec<StageStep>,
    }

    /// Nothing besides the tenant.
    Nothing {}
}

answer! {
    /// What a step is worth.
    StepWorth {
        /// The stage it was in.
        stage_from: Option<String>,
        /// The stage it is in now.
        stage_to: String,
        /// What a deal in the new stage is worth, in main units.
        synthetic_value: f64,
        /// What the step adds to that of the stage before: negative where a deal went back, and zero in
        /// sum where it came again.
        calculated_value: f64,
        /// How sure the owner is, 0 to 1; not multiplied in.
        confidence: f64,
        /// How it was reckoned.
        reason: String,
        /// When.
        timestamp: String,
    }

    /// The return of an ad.
    AdRoas {
        /// What the steps add up to, in main units.
        pipeline_value: f64,
        /// That over the spend; null where nothing was spent.
        pipeline_roas: Option<f64>,
        /// The mean confidence of the stages reached; 0 without any.
        avg_confidence: f64,
        /// How many steps.
        num_stage_changes: u64,
        /// What was spent.
        ad_spend: f64,
    }

    /// Stages.
    StageList {
        /// The tenant.
        tenant_id: String,
        /// The least valuable first.
        stages: Vec<ListedStage>,
        /// How many.
        num_stages: u64,
    }

    /// A stage.
    ListedStage {
        /// Its name.
        stage_name: String,
        /// What a deal in it is worth, in main units.
        value: f64,
        /// How sure the owner is, 0 to 1.
        confidence: f64,
        /// What it means; empty where nobody said.
        description: String,
    }
}

/// The stage of this name, or that the CRM calls so.
fn stage<'a>(tenant: &'a TenantApi, field: &str, text: &str) -> Result<&'a StageValue, Problem> {
    let by_name = StageName::new(text).ok();
    let by_name = by_name.and_then(|name| tenant.stages.by_name(&name));
    let by_id = || {
        let id = VendorStageId::new(text).ok()?;
        tenant.stages.by_vendor_id(&id)
    };
    by_name.or_else(by_id).ok_or_else(|| {
        let known = tenant.stages.all().iter();
        let known: Vec<&str> = known.map(|stage| stage.name.as_str()).collect();
        bad_field(
            field,
            format!(
                "it is none of the tenant's stages, which are {}",
                known.join(", ")
            ),
        )
    })
}

/// An amount in main units that is not negative.
pub(super) fn amount(tenant: &TenantApi, field: &str, main: f64) -> Result<Money, Problem> {
    let money = Money::from_f64(main, tenant.currency, Rounding::Nearest).ok();
    money
        .filter(|_| main >= 0.0)
        .ok_or_else(|| bad_field(field, "give an amount in main units, 0 or more"))
}

/// What a deal in a stage is worth.
fn worth(tenant: &TenantApi, stage: &StageValue, own: Option<Money>) -> Money {
    match own {
        Some(own) if stage.is_won => own,
        _ if stage.is_lost => Money::zero(tenant.currency),
        _ => stage.value,
    }
}

/// The stage reached, what a deal in it is worth, and what the step adds.
fn step<'a>(
    tenant: &'a TenantApi,
    taken: &StageStep,
) -> Result<(&'a StageValue, Money, Money), Problem> {
    let to = stage(tenant, "stage_to", &taken.stage_to)?;
    let own = taken.deal_value;
    let own = own
        .map(|own| amount(tenant, "deal_value", own))
        .transpose()?;
    let before = match &taken.stage_from {
        // The amount of a deal that was won before is as good as the same.
        Some(from) => worth(tenant, stage(tenant, "stage_from", from)?, own),
        None => Money::zero(tenant.currency),
    };
    let value = worth(tenant, to, own);
    let adds = value
        .checked_sub(before)
        .map_err(|error| bad_field("deal_value", error))?;
    Ok((to, value, adds))
}

async fn calculate(call: Call) -> Result<Reply, Problem> {
    let (_, entry) = call.tenant()?;
    let taken: StageStep = call.read()?;
    let (to, value, adds) = step(&entry.api, &taken)?;
    let of = match (to.is_won, taken.deal_value) {
        (true, Some(_)) => "the deal's own amount",
        _ if to.is_lost => "a lost deal is worth nothing",
        _ => "the configured value of the stage, which is already the expectation",
    };
    let from = taken.stage_from.as_deref();
    let less = from.map_or(String::new(), |from| {
        format!(", less what it was worth in {from}")
    });
    Reply::json(&StepWorth {
        stage_to: to.name.to_string(),
        synthetic_value: value.to_f64(),
        calculated_value: adds.to_f64(),
        confidence: to.confidence,
        reason: format!("{of}{less}"),
        timestamp: call.now().to_string(),
        stage_from: taken.stage_from.clone(),
    })
}

async fn ad_roas(call: Call) -> Result<Reply, Problem> {
    let (_, entry) = call.tenant()?;
    let taken: AdSteps = call.read()?;
    let spend = amount(&entry.api, "ad_spend", taken.ad_spend)?;
    let mut pipeline = Money::zero(entry.api.currency);
    let mut confidence = 0.0;
    for (place, change) in taken.stage_changes.iter().enumerate() {
        let (to, _, adds) = step(&entry.api, change)
            .map_err(|problem| problem.within(&format!("stage_changes[{place}]")))?;
        confidence += to.confidence;
        pipeline = pipeline
            .checked_add(adds)
            .map_err(|error| bad_field("stage_changes", error))?;
    }
    let count = taken.stage_changes.len();
    let roas = pipeline.to_f64() / spend.to_f64();
    Reply::json(&AdRoas {
        pipeline_value: pipeline.to_f64(),
        pipeline_roas: Some(roas).filter(|roas| roas.is_finite()),
        avg_confidence: confidence / (count.max(1) as f64),
        num_stage_changes: count as u64,
        ad_spend: spend.to_f64(),
    })
}

async fn get_stages(call: Call) -> Result<Reply, Problem> {
    let (tenant, entry) = call.tenant()?;
    call.read_or::<Nothing>()?;
    let mut stages: Vec<&StageValue> = entry.api.stages.all().iter().collect();
    stages.sort_by_key(|stage| (stage.value.minor(), stage.name.clone()));
    let listed = stages.iter().map(|stage| ListedStage {
        stage_name: stage.name.to_string(),
        value: stage.value.to_f64(),
        confidence: stage.confidence,
        description: entry
            .api
            .descriptions
            .get(&stage.name)
            .cloned()
            .unwrap_or_default(),
    });
    Reply::json(&StageList {
        tenant_id: tenant.to_string(),
        num_stages: stages.len() as u64,
        stages: listed.collect(),
    })
}
