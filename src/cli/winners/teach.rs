//! What past ads teach: like ones, a brief, and what look-alikes are worth.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Done, NearArgs, Past, ad_json, cells, embed};
use crate::cli::context::{CliContext, Out, clean, print_json};
use crate::cli::table::TextTable;
use crate::daemon::Parts;
use crate::domain::brief::{self, Brief, PastCreative, Shared};
use crate::domain::ids::AdId;
use crate::domain::policy::PolicyParams;
use crate::domain::retrieval::{self, CASES_MIN, Judgement};
use crate::index::cases;
use crate::store::winners::PastAd;

impl Past {
    /// The past ads nearest to what is asked for, with their cosines; an ad is not like itself.
    fn nearest(
        &self,
        near: &NearArgs,
        limit: usize,
        keep: &dyn Fn(&PastAd) -> bool,
    ) -> Result<Vec<(&PastAd, f32)>, String> {
        let lending = self.lending();
        let vector = match (&near.text, &near.ad) {
            (Some(text), _) => embed(text)?,
            (None, Some(ad)) => self.get(ad)?.vector.clone(),
            (None, None) => return Err("say like what: --text TEXT or --ad AD".to_owned()),
        };
        let keep =
            |ad: &AdId| near.ad.as_ref() != Some(ad) && lending.get(ad).is_some_and(|p| keep(p));
        let index = self.index().map_err(|error| error.to_string())?;
        let found = index
            .search(&vector, limit, &keep)
            .map_err(|error| error.to_string())?;
        Ok(found
            .into_iter()
            .filter_map(|(ad, cosine)| Some((*lending.get(&ad)?, cosine)))
            .collect())
    }

    pub(super) fn similar(
        &self,
        near: &NearArgs,
        limit: usize,
        winners: bool,
        ctx: &CliContext,
        out: Out<'_>,
    ) -> anyhow::Result<Done> {
        let found = match self.nearest(near, limit, &|past| !winners || past.is_winner) {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        if ctx.json {
            let matches: Vec<Value> = found
                .iter()
                .map(|(past, cosine)| {
                    let mut ad = ad_json(past);
                    ad["similarity"] = json!(cosine);
                    ad
                })
                .collect();
            print_json(
                out,
                &json!({ "tenant": self.tenant.as_str(), "matches": matches }),
            )?;
            return Ok(Ok(()));
        }
        if found.is_empty() {
            writeln!(out, "no past ad to compare with")?;
            return Ok(Ok(()));
        }
        let heads = ["like", "ad", "name", "label", "CTR", "ROAS", "says"];
        let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[0, 4, 5]);
        for (past, cosine) in &found {
            let says = past.text.lines().next().unwrap_or_default().to_owned();
            let like = [format!("{cosine:.2}")];
            table.row(like.into_iter().chain(cells(past)).chain([says]));
        }
        writeln!(out, "{}", table.render())?;
        Ok(Ok(()))
    }

    pub(super) fn brief(
        &self,
        near: &NearArgs,
        nearest: usize,
        limit: usize,
        ctx: &CliContext,
        out: Out<'_>,
    ) -> anyhow::Result<Done> {
        let is_judged = |past: &PastAd| past.is_mature || past.is_winner;
        let asked = near.text.is_some() || near.ad.is_some();
        let ads: Vec<&PastAd> = if asked {
            match self.nearest(near, nearest, &is_judged) {
                Ok(found) => found.into_iter().map(|(past, _)| past).collect(),
                Err(why) => return Ok(Err(why)),
            }
        } else {
            let lending = self.lending().into_values();
            lending.filter(|past| is_judged(past)).collect()
        };
        let creatives: Vec<PastCreative> = ads
            .iter()
            .map(|past| PastCreative {
                text: past.text.clone(),
                format: past.format.clone(),
                call_to_action: past.call_to_action.clone(),
                theme: past.theme.clone(),
                is_winner: past.is_winner,
            })
            .collect();
        let brief = brief::brief(&creatives, limit);
        if ctx.json {
            print_json(out, &brief_json(&brief))?;
            return Ok(Ok(()));
        }
        print_brief(&brief, ctx, out)?;
        Ok(Ok(()))
    }

    pub(super) fn evaluate(&self, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Done> {
        let index = match self.index() {
            Ok(index) => index,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let parts = Parts::of(&ctx.config)?;
        let tenant = parts.tenants.get(&self.tenant);
        let params = tenant.map_or_else(PolicyParams::default, |tenant| tenant.settings.params);
        let lending = self.lending();
        // As the daemon judges them: what an operator brought has no ledger and lends nothing there.
        let mature: Vec<&PastAd> = lending
            .into_values()
            .filter(|past| past.is_mature && !past.is_by_hand)
            .collect();
        let worths = mature.iter().map(|past| past.pipeline.to_f64());
        let unit = cases::least_worth(worths).unwrap_or(1.0);
        let worth = |past: &PastAd| (past.pipeline.to_f64() / unit).max(0.0);
        type Part<'a> = &'a dyn Fn(&PastAd) -> f64;
        let targets: [(&str, Part<'_>, Part<'_>); 3] = [
            (
                "clicks per impression",
                &|past| past.clicks as f64,
                &|past| past.impressions as f64,
            ),
            ("value per click", &worth, &|past| past.clicks as f64),
            ("value per spend", &worth, &|past| past.spend.to_f64()),
        ];
        let judged: BTreeMap<&str, Option<Judgement>> = targets
            .into_iter()
            .map(|(target, events, exposure)| {
                let past: Vec<(&AdId, f64, f64)> = mature
                    .iter()
                    .map(|past| (&past.ad, events(past), exposure(past)))
                    .collect();
                let cases = cases::cases(&index, &past, params.k_text);
                (target, retrieval::judge(&cases, params.a_text))
            })
            .collect();
        if ctx.json {
            let judged: Vec<Value> = judged
                .iter()
                .map(|(target, judgement)| judgement_json(target, judgement.as_ref()))
                .collect();
            print_json(
                out,
                &json!({
                    "tenant": self.tenant.as_str(),
                    "mature_ads": mature.len(),
                    "targets": judged,
                }),
            )?;
            return Ok(Ok(()));
        }
        let (mature, tenant) = (mature.len(), &self.tenant);
        writeln!(out, "{tenant}: {mature} mature ads, each left out in turn")?;
        let heads = [
            "foretold",
            "ads",
            "error without",
            "error with",
            "guess worth",
            "weight",
            "verdict",
        ];
        let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[1, 2, 3, 4, 5]);
        for (target, judgement) in &judged {
            table.row(judgement.as_ref().map_or_else(
                || {
                    let why = format!("too little: {CASES_MIN} ads and an event are needed");
                    let empty = String::new;
                    [
                        (*target).to_owned(),
                        empty(),
                        empty(),
                        empty(),
                        empty(),
                        empty(),
                        why,
                    ]
                },
                |judgement| judgement_row(target, judgement),
            ));
        }
        writeln!(out, "{}", table.render())?;
        writeln!(
            out,
            "errors are shares of the mean; a guess is worth so many expected events (with look-alikes)"
        )?;
        Ok(Ok(()))
    }
}

fn judgement_row(target: &str, judgement: &Judgement) -> [String; 7] {
    let verdict = if judgement.weight > 0.0 {
        "look-alikes help"
    } else {
        "look-alikes lend nothing"
    };
    [
        target.to_owned(),
        judgement.cases.to_string(),
        format!("{:.0} %", 100.0 * judgement.error_without),
        format!("{:.0} %", 100.0 * judgement.error_with),
        format!(
            "{} ({})",
            judgement.strength_without, judgement.strength_with
        ),
        format!("{}", judgement.weight),
        verdict.to_owned(),
    ]
}

fn judgement_json(target: &str, judgement: Option<&Judgement>) -> Value {
    judgement.map_or_else(
        || json!({ "foretold": target, "judged": false }),
        |judgement| {
            json!({
                "foretold": target,
                "judged": true,
                "ads": judgement.cases,
                "error_without": judgement.error_without,
                "error_with": judgement.error_with,
                "strength_without": judgement.strength_without,
                "strength_with": judgement.strength_with,
                "weight": judgement.weight,
                "gain_nats_per_ad": judgement.gain,
                "gain_standard_error": judgement.gain_error,
            })
        },
    )
}

fn shared_json(shared: &Shared) -> Value {
    json!({
        "kind": shared.kind.as_str(),
        "what": shared.what,
        "winners": shared.winners,
        "losers": shared.losers,
        "share": shared.share,
        "low": shared.interval.0,
        "high": shared.interval.1,
        "is_sure": shared.is_sure,
    })
}

fn brief_json(brief: &Brief) -> Value {
    let list = |all: &[Shared]| all.iter().map(shared_json).collect::<Vec<_>>();
    json!({
        "ads": brief.ads,
        "winners": brief.winners,
        "of_winners": list(&brief.of_winners),
        "of_losers": list(&brief.of_losers),
    })
}

fn print_brief(brief: &Brief, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} past ads that can be judged, {} of them winners",
        brief.ads, brief.winners
    )?;
    for (title, list) in [
        ("What winners share", &brief.of_winners),
        ("What losers share", &brief.of_losers),
    ] {
        writeln!(out, "\n{title}")?;
        if list.is_empty() {
            writeln!(out, "  nothing that several ads have")?;
            continue;
        }
        let heads = [
            "kind",
            "what",
            "winners",
            "losers",
            "winners among them",
            "",
        ];
        let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[2, 3]);
        for shared in list {
            let (low, high) = shared.interval;
            table.row([
                shared.kind.as_str().to_owned(),
                clean(&shared.what),
                shared.winners.to_string(),
                shared.losers.to_string(),
                format!(
                    "{:.0} % ({:.0} to {:.0} %)",
                    100.0 * shared.share,
                    100.0 * low,
                    100.0 * high
                ),
                if shared.is_sure { "sure" } else { "perhaps" }.to_owned(),
            ]);
        }
        writeln!(out, "{}", table.render())?;
    }
    writeln!(
        out,
        "\nIntervals of 90 %; many things are compared, so take it as a place to begin."
    )?;
    Ok(())
}
