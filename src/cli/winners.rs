//! `roasd winners`: past ads, winners and losers alike, and what they teach.

mod args;
mod teach;

use std::collections::BTreeMap;

pub use args::{AddArgs, NearArgs, WinnersArgs, WinnersCommand};
use serde_json::{Value, json};

use super::context::{CliContext, Out, ago, clean, print_json};
use super::table::TextTable;
use super::{Exit, complain};
use crate::domain::ids::{AdId, TenantId};
use crate::domain::money::Money;
use crate::domain::structure::Creative;
use crate::domain::winner::{self, Outcome};
use crate::index::{BadVector, Index};
use crate::store::winners::PastAd;
use crate::vendors::embedder::Embedder;
use crate::vendors::embedder::lexical::Lexical;

/// The longest text that is taken, in bytes.
const TEXT_MAX: usize = 16 * 1_024;

/// Runs the command.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &WinnersArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let tenant = match ctx.chosen(args.tenant.as_ref()).await? {
        Ok(tenants) => match <[TenantId; 1]>::try_from(tenants) {
            Ok([tenant]) => tenant,
            Err(several) => {
                let names: Vec<&str> = several.iter().map(TenantId::as_str).collect();
                complain(&format!("name one with --tenant: {}", names.join(", ")));
                return Ok(Exit::Usage);
            }
        },
        Err(unknown) => {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
    };
    let past = Past {
        ads: ctx.store.past_ads(&tenant, Lexical.model()).await?,
        tenant,
    };
    let done = match &args.command {
        WinnersCommand::List { all, limit } => past.list(*all, *limit, ctx, out)?,
        WinnersCommand::Show { ad } => past.show(ad, ctx, out)?,
        WinnersCommand::Add(args) => past.add(args, ctx, out).await?,
        WinnersCommand::Remove { ad } => past.set_left_out(ad, true, ctx, out).await?,
        WinnersCommand::Similar {
            near,
            limit,
            winners,
        } => past.similar(near, *limit, *winners, ctx, out)?,
        WinnersCommand::Brief {
            near,
            nearest,
            limit,
        } => past.brief(near, *nearest, *limit, ctx, out)?,
        WinnersCommand::Evaluate => past.evaluate(ctx, out)?,
    };
    Ok(match done {
        Ok(()) => Exit::Done,
        Err(why) => {
            complain(&why);
            Exit::Failed
        }
    })
}

/// What a command came to: done, or why not.
type Done = Result<(), String>;

/// One tenant's past ads.
struct Past {
    tenant: TenantId,
    ads: Vec<PastAd>,
}

impl Past {
    fn get(&self, ad: &AdId) -> Result<&PastAd, String> {
        self.ads.iter().find(|past| past.ad == *ad).ok_or_else(|| {
            format!(
                "{} has no past ad {ad}; `roasd winners list --all` shows them",
                self.tenant
            )
        })
    }

    /// The ads that lend something, by id.
    fn lending(&self) -> BTreeMap<&AdId, &PastAd> {
        let lending = self.ads.iter().filter(|past| !past.is_left_out);
        lending.map(|past| (&past.ad, past)).collect()
    }

    fn index(&self) -> Result<Index, BadVector> {
        let vectors = self
            .lending()
            .into_iter()
            .map(|(ad, past)| (ad.clone(), past.vector.clone()))
            .collect();
        Index::of(Lexical.dimension(), &vectors)
    }

    fn list(
        &self,
        all: bool,
        limit: usize,
        ctx: &CliContext,
        out: Out<'_>,
    ) -> anyhow::Result<Done> {
        let mut shown: Vec<&PastAd> = self
            .ads
            .iter()
            .filter(|past| all || (past.is_winner && !past.is_left_out))
            .collect();
        let rank = |past: &PastAd| outcome(past).roas().unwrap_or(0.0);
        shown.sort_by(|a, b| rank(b).total_cmp(&rank(a)).then_with(|| a.ad.cmp(&b.ad)));
        let found = shown.len();
        shown.truncate(limit);
        if ctx.json {
            let ads: Vec<Value> = shown.iter().map(|past| ad_json(past)).collect();
            print_json(
                out,
                &json!({ "tenant": self.tenant.as_str(), "found": found, "ads": ads }),
            )?;
            return Ok(Ok(()));
        }
        if shown.is_empty() {
            let hint = if all {
                ""
            } else {
                "; `--all` shows the others"
            };
            let known = self.ads.len();
            writeln!(out, "no winner among {known} past ads{hint}")?;
            return Ok(Ok(()));
        }
        let heads = [
            "ad", "name", "label", "CTR", "ROAS", "spend", "pipeline", "format", "seen",
        ];
        let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[3, 4, 5, 6]);
        for past in &shown {
            table.row(cells(past).into_iter().chain([
                past.spend.to_string(),
                past.pipeline.to_string(),
                past.format.clone(),
                ago(past.updated_at, ctx.now()),
            ]));
        }
        writeln!(out, "{}", table.render())?;
        if found > shown.len() {
            writeln!(out, "{} of {found}; `--limit` shows more", shown.len())?;
        }
        Ok(Ok(()))
    }

    fn show(&self, ad: &AdId, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Done> {
        let past = match self.get(ad) {
            Ok(past) => past,
            Err(why) => return Ok(Err(why)),
        };
        if ctx.json {
            print_json(out, &ad_json(past))?;
            return Ok(Ok(()));
        }
        let outcome = outcome(past);
        writeln!(out, "{} {} ({})", past.ad, clean(&past.name), label(past))?;
        for line in past.text.lines() {
            writeln!(out, "  {}", clean(line))?;
        }
        let seen = format!("{} impressions, {} clicks", past.impressions, past.clicks);
        writeln!(out, "{seen}, CTR {:.2} %", 100.0 * outcome.ctr())?;
        let roas = outcome
            .roas()
            .map_or_else(|| "none".to_owned(), |roas| format!("{roas:.2}"));
        writeln!(
            out,
            "{} spent, {} of pipeline, ROAS {roas}",
            past.spend, past.pipeline
        )?;
        for (what, value) in [
            ("format", &past.format),
            ("button", &past.call_to_action),
            ("landing page", &past.theme),
        ] {
            if !value.is_empty() {
                writeln!(out, "{what}: {}", clean(value))?;
            }
        }
        Ok(Ok(()))
    }

    async fn set_left_out(
        &self,
        ad: &AdId,
        is_left_out: bool,
        ctx: &CliContext,
        out: Out<'_>,
    ) -> anyhow::Result<Done> {
        if !ctx.store.leave_out(&self.tenant, ad, is_left_out).await? {
            return Ok(self.get(ad).map(|_| ()));
        }
        if ctx.json {
            print_json(
                out,
                &json!({ "tenant": self.tenant.as_str(), "ad": ad.as_str(), "left_out": is_left_out }),
            )?;
        } else if is_left_out {
            writeln!(
                out,
                "{ad} is left out, and lends nothing from the daemon's next look on (within 12 \
                 hours); `roasd winners add {ad}` lets it in again"
            )?;
        } else {
            writeln!(out, "{ad} is in again")?;
        }
        Ok(Ok(()))
    }

    async fn add(&self, args: &AddArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Done> {
        let Some(text) = &args.text else {
            return self.set_left_out(&args.ad, false, ctx, out).await;
        };
        let past = match self.brought(args, text, ctx) {
            Ok(past) => past,
            Err(why) => return Ok(Err(why)),
        };
        let records = std::slice::from_ref(&past);
        ctx.store.record_past_ads(&self.tenant, records).await?;
        ctx.store.leave_out(&self.tenant, &past.ad, false).await?;
        if ctx.json {
            print_json(out, &ad_json(&past))?;
        } else {
            let (ad, label) = (&past.ad, label(&past));
            writeln!(
                out,
                "{ad} is in, as a {label}: `similar` and `brief` know it"
            )?;
        }
        Ok(Ok(()))
    }

    /// The past ad that an operator brings.
    fn brought(&self, args: &AddArgs, text: &str, ctx: &CliContext) -> Result<PastAd, String> {
        if let Ok(known) = self.get(&args.ad)
            && !known.is_by_hand
        {
            return Err(format!(
                "{} is an ad of the account; its text is Meta's",
                args.ad
            ));
        }
        let tenant = ctx.config.tenants.get(&self.tenant);
        let currency = tenant
            .map(|tenant| tenant.settings.currency)
            .ok_or_else(|| format!("{} is not in the configuration", self.tenant))?;
        // What the button says is no text.
        embed(text)?;
        let money = |text: &str| Money::parse(text, currency).map_err(|error| error.to_string());
        let creative = Creative {
            body: text.to_owned(),
            call_to_action: args.call_to_action.clone(),
            ..Creative::default()
        };
        let text = winner::text_of(&creative);
        let vector = embed(&text)?;
        let outcome = Outcome {
            impressions: args.impressions,
            clicks: args.clicks,
            spend: money(&args.spend)?,
            pipeline: money(&args.pipeline)?,
        };
        if outcome.clicks > outcome.impressions {
            return Err("there cannot be more clicks than impressions".to_owned());
        }
        Ok(PastAd {
            ad: args.ad.clone(),
            name: args.name.clone(),
            text,
            format: args.format.clone(),
            call_to_action: args.call_to_action.clone(),
            theme: winner::theme_of(&args.link),
            made_at: None,
            model: Lexical.model().to_owned(),
            vector,
            impressions: outcome.impressions,
            clicks: outcome.clicks,
            spend: outcome.spend,
            pipeline: outcome.pipeline,
            is_winner: winner::is_winner(&outcome),
            is_mature: winner::is_mature(&outcome, None, 0.0, ctx.now()),
            is_by_hand: true,
            is_left_out: false,
            updated_at: ctx.now(),
        })
    }
}

/// The vector of a text that somebody gives.
fn embed(text: &str) -> Result<Vec<f32>, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("the text is longer than {TEXT_MAX} bytes"));
    }
    Lexical
        .embed(text)
        .ok_or_else(|| "the text has no word to go by".to_owned())
}

fn outcome(past: &PastAd) -> Outcome {
    Outcome {
        impressions: past.impressions,
        clicks: past.clicks,
        spend: past.spend,
        pipeline: past.pipeline,
    }
}

/// An ad in a table: ad, name, label, CTR, ROAS.
fn cells(past: &PastAd) -> [String; 5] {
    let outcome = outcome(past);
    let roas = outcome.roas();
    [
        past.ad.to_string(),
        past.name.clone(),
        label(past).to_owned(),
        format!("{:.2} %", 100.0 * outcome.ctr()),
        roas.map_or_else(String::new, |roas| format!("{roas:.2}")),
    ]
}

fn label(past: &PastAd) -> &'static str {
    match past {
        PastAd {
            is_left_out: true, ..
        } => "left out",
        PastAd {
            is_winner: true, ..
        } => "winner",
        PastAd {
            is_mature: true, ..
        } => "loser",
        PastAd { .. } => "too early",
    }
}

fn ad_json(past: &PastAd) -> Value {
    let outcome = outcome(past);
    json!({
        "ad": past.ad.as_str(),
        "name": past.name,
        "text": past.text,
        "format": past.format,
        "call_to_action": past.call_to_action,
        "theme": past.theme,
        "made_at": past.made_at.map(|at| at.to_string()),
        "label": label(past),
        "is_winner": past.is_winner,
        "is_mature": past.is_mature,
        "is_by_hand": past.is_by_hand,
        "is_left_out": past.is_left_out,
        "impressions": past.impressions,
        "clicks": past.clicks,
        "ctr": outcome.ctr(),
        "spend": past.spend.to_decimal(),
        "pipeline": past.pipeline.to_decimal(),
        "currency": past.spend.currency().code(),
        "roas": outcome.roas(),
        "model": past.model,
        "dimension": past.vector.len(),
        "updated_at": past.updated_at.to_string(),
    })
}
