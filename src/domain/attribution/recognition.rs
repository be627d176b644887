//! Layers two and three: the person behind the form's visit, recognised among those who clicked.
//!
//! Both are judged by one posterior over all clicks that share the fingerprint or the address, so
//! that a popular phone model is no person for either. The layer is named by what the best click has
//! in common with the form: the fingerprint is layer two, the address without it layer three.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::{self, Answer, credit_of, missed};
use super::likelihood::{Agreement, Gap, Match, PATTERNS, Traits};
use super::probability::Probability;
use super::reliability;
use super::traffic::Traffic;
use super::{AttributionRules, Candidates, Conversion, Credit, Method, Model};
use crate::domain::ids::AdId;
use crate::domain::time::{self, SignedDuration};
use crate::domain::visit::{KeyedHash, Visit};

/// A click that may have brought the form.
pub(super) struct Click<'a> {
    pub(super) visit: &'a Visit,
    pub(super) credit: Credit,
    pub(super) found: Match,
}

/// An ad, and the likeliest of its clicks.
struct Ranked<'a> {
    said: Probability,
    visit: &'a Visit,
    found: Match,
    best: Probability,
    credit: Credit,
}

impl Ranked<'_> {
    fn method(&self) -> Method {
        match self.found.traits.fingerprint {
            Agreement::Same => Method::Fingerprint,
            Agreement::Differs | Agreement::Unknown => Method::Probabilistic,
        }
    }
}

/// The form visit, if it may be compared with others.
pub(super) fn comparable<'a>(
    conversion: &'a Conversion,
    rules: &AttributionRules,
) -> Result<&'a Visit, &'static str> {
    let form = conversion
        .form_visit()
        .ok_or("the conversion carries no visit of ours to compare")?;
    if rules.needs_consent && !form.has_consent {
        return Err("the visitor did not consent to being recognised");
    }
    Ok(form)
}

/// The clicks that share the form's fingerprint or address within the window of each, by time.
pub(super) fn clicks<'a>(
    form: &Visit,
    candidates: &'a Candidates,
    rules: &AttributionRules,
    traffic: &Traffic,
) -> Vec<Click<'a>> {
    let devices: BTreeSet<(Option<&KeyedHash>, Option<&KeyedHash>)> = candidates
        .by_ip
        .iter()
        .chain([form])
        .map(|visit| (visit.fingerprint.as_ref(), visit.user_agent.as_ref()))
        .collect();
    // What a click shares with the form has the form's own values: as many chances as patterns.
    let mut chances = [None; PATTERNS];
    let mut by_chance = |traits: Traits| {
        let chance = &mut chances[traits.shared()];
        *chance.get_or_insert_with(|| by_chance(form, traits, traffic, devices.len()))
    };
    let mut found: Vec<Click<'a>> = candidates
        .by_fingerprint
        .iter()
        .chain(&candidates.by_ip)
        .filter(|visit| {
            visit.id != form.id
                && visit.at <= form.at
                && (visit.has_consent || !rules.needs_consent)
        })
        .filter_map(|visit| {
            let traits = Traits {
                fingerprint: Agreement::of(form.fingerprint.as_ref(), visit.fingerprint.as_ref()),
                user_agent: Agreement::of(form.user_agent.as_ref(), visit.user_agent.as_ref()),
                ip: Agreement::of(form.ip.as_ref(), visit.ip.as_ref()),
            };
            let age = time::between(visit.at, form.at);
            let within =
                |agreement, window: SignedDuration| agreement == Agreement::Same && age <= window;
            let counts = within(traits.fingerprint, rules.fingerprint_window)
                || within(traits.ip, rules.probabilistic_window);
            let credit = credit_of(visit, candidates).ok()??;
            counts.then(|| Click {
                visit,
                credit,
                found: Match {
                    gap: Gap::of(age),
                    traits,
                    by_chance: by_chance(traits),
                },
            })
        })
        .collect();
    // Found in whatever order, added up in one: the sums are the same to the last bit.
    found.sort_by(|a, b| (a.visit.at, &a.visit.id).cmp(&(b.visit.at, &b.visit.id)));
    found.dedup_by(|a, b| a.visit.id == b.visit.id);
    found
}

/// The chance that a visitor whom no ad brought has what these two have in common. Device and
/// address are taken as independent of each other; fingerprint and user agent are not.
fn by_chance(form: &Visit, traits: Traits, traffic: &Traffic, devices: usize) -> Probability {
    let same = |agreement, hash| match agreement {
        Agreement::Same => hash,
        Agreement::Differs | Agreement::Unknown => None,
    };
    let device = match (
        same(traits.fingerprint, form.fingerprint.as_ref()),
        same(traits.user_agent, form.user_agent.as_ref()),
    ) {
        (Some(fingerprint), Some(agent)) => traffic.device(fingerprint, agent),
        (Some(fingerprint), None) => traffic.fingerprint(fingerprint),
        (None, Some(agent)) => traffic.user_agent(agent),
        (None, None) => Probability::ONE,
    };
    let address = same(traits.ip, form.ip.as_ref());
    let address = address.map_or(Probability::ONE, |ip| traffic.address(ip, devices));
    Probability::nearest(device.get() * address.get())
}

/// Ads by their posterior, likeliest first; an ad's clicks add up.
fn rank<'a>(clicks: Vec<Click<'a>>, model: &Model) -> Vec<Ranked<'a>> {
    let found: Vec<Match> = clicks.iter().map(|click| click.found).collect();
    let posterior = model
        .linkage
        .posterior(&found, model.traffic.clicks_per_hour());
    let mut by_ad: BTreeMap<AdId, Ranked<'a>> = BTreeMap::new();
    for (click, p) in clicks.into_iter().zip(posterior) {
        let ad = click.credit.ad.clone();
        let of_ad = by_ad.entry(ad).or_insert_with(|| Ranked {
            said: Probability::ZERO,
            visit: click.visit,
            found: click.found,
            best: Probability::ZERO,
            credit: click.credit,
        });
        of_ad.said = Probability::nearest(of_ad.said.get() + p.get());
        // Of equally likely clicks the last stands for the ad.
        if p >= of_ad.best {
            (of_ad.best, of_ad.visit, of_ad.found) = (p, click.visit, click.found);
        }
    }
    let mut ranked: Vec<_> = by_ad.into_values().collect();
    ranked.sort_by(|a, b| {
        let likelier = b.said.get().total_cmp(&a.said.get());
        likelier.then_with(|| a.credit.ad.cmp(&b.credit.ad))
    });
    ranked
}

/// The likeliest ad, its posterior before calibration and the layer that would credit it; `None` where
/// nothing was found.
pub(super) fn likeliest(
    clicks: Vec<Click<'_>>,
    model: &Model,
) -> Option<(AdId, Probability, Method)> {
    let first = rank(clicks, model).into_iter().next()?;
    let method = first.method();
    Some((first.credit.ad, first.said, method))
}

/// Asks layer two and, if that does not give the credit, layer three.
pub(super) fn recognise(
    conversion: &Conversion,
    candidates: &Candidates,
    rules: &AttributionRules,
    model: &Model,
) -> Vec<Answer> {
    let methods = [Method::Fingerprint, Method::Probabilistic];
    let neither = |reason: &str| {
        methods
            .map(|method| (missed(method, 0.0, reason.into(), Vec::new()), None))
            .into()
    };
    let form = match comparable(conversion, rules) {
        Ok(form) => form,
        Err(reason) => return neither(reason),
    };
    let ranked = rank(clicks(form, candidates, rules, &model.traffic), model);
    let mut answers = Vec::with_capacity(methods.len());
    for method in methods {
        let answer = layer(method, form, &ranked, rules, model);
        let is_credited = answer.1.is_some();
        answers.push(answer);
        if is_credited {
            break;
        }
    }
    answers
}

/// One layer's answer: it credits the likeliest ad of all, if that is its own, likely enough and
/// clearly ahead.
fn layer(
    method: Method,
    form: &Visit,
    ranked: &[Ranked<'_>],
    rules: &AttributionRules,
    model: &Model,
) -> Answer {
    let cap = reliability::cap(method, rules, model.calibration);
    let says = |of: &Ranked<'_>| model.calibration.apply(of.said);
    let Some(best) = ranked.iter().find(|of| of.method() == method) else {
        let reason = match method {
            Method::Fingerprint if form.fingerprint.is_none() => {
                "the form's visit has no fingerprint"
            }
            Method::Fingerprint => "no click of the window has the form's fingerprint",
            _ if form.ip.is_none() => "the form's visit has no IP address",
            _ => "no click of the window has the form's IP address alone",
        };
        return (missed(method, 0.0, reason.into(), Vec::new()), None);
    };
    let others = || ranked.iter().filter(|of| of.credit.ad != best.credit.ad);
    let runners_up: Vec<_> = others()
        .map(|of| (of.credit.ad.clone(), says(of).min(cap).get()))
        .collect();
    let said = says(best);
    let what = in_words(best, form);
    let second = others().map(|of| of.said.get()).next().unwrap_or(0.0);
    let reason = if best.said.get() < rules.min_lead * second {
        let second = others().map(says).next().unwrap_or(Probability::ZERO);
        format!(
            "{what}, but another ad is about as likely: {:.2} against {:.2} is no match",
            said.get(),
            second.get()
        )
    } else if said.get() < rules.min_confidence {
        format!(
            "{what}, but with {:.2} that no ad brought them, or an unseen click, is likelier",
            said.get()
        )
    } else {
        return layers::credited(
            method,
            said.min(cap).get(),
            best.credit.clone(),
            Some(best.visit.id.clone()),
            Some(best.visit.at),
            what,
            runners_up,
        );
    };
    (
        missed(method, said.min(cap).get(), reason, runners_up),
        None,
    )
}

fn in_words(of: &Ranked<'_>, form: &Visit) -> String {
    let Traits {
        fingerprint,
        user_agent,
        ip,
    } = of.found.traits;
    let same: Vec<&str> = [
        (fingerprint, "fingerprint"),
        (user_agent, "user agent"),
        (ip, "IP address"),
    ]
    .into_iter()
    .filter_map(|(agreement, name)| (agreement == Agreement::Same).then_some(name))
    .collect();
    let hours = time::hours_between(of.visit.at, form.at);
    let one_in = (1.0 / of.found.by_chance.get().max(1e-9)).round();
    format!(
        "a click with the same {}, which one in {one_in:.0} others would share, {hours:.1} h before the form",
        same.join(" and "),
    )
}

#[cfg(test)]
mod tests;
