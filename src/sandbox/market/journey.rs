//! What becomes of a lead: its contact, its deal, and the stages the deal goes through, all drawn
//! when the lead is born and revealed as time passes.

use std::collections::BTreeMap;

use crate::domain::time::{self, Timestamp};

use super::super::business::{Business, Funnel};
use super::super::draw::Draw;
use super::{Event, Market};

/// A person in the CRM.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) struct Contact {
    pub id: u64,
    pub created: Timestamp,
    pub properties: BTreeMap<&'static str, String>,
}

/// A lead of a lead form at Meta.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) struct FormLead {
    pub id: u64,
    pub created: Timestamp,
    /// The ad, among the market's ads.
    pub ad: usize,
    pub email: String,
}

/// The first contact of a deal.
const fn contact_of(deal: u64) -> u64 {
    60_000_000_000 + (deal - 20_000_000_000) * 2
}

/// A sale in the CRM, with its future.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) struct Deal {
    pub id: u64,
    pub name: String,
    pub contacts: Vec<u64>,
    pub created: Timestamp,
    /// Index into the business's stages, by time; the first is at `created`.
    pub stages: Vec<(Timestamp, usize)>,
    /// When it was archived (`true`) and restored (`false`).
    pub archived: Vec<(Timestamp, bool)>,
    /// The deals that became part of it, and when.
    pub merged: Vec<(Timestamp, u64)>,
    /// Whether it is part of another by now.
    pub is_merged: bool,
    /// Since when there is a record of it, for one that was made of others.
    pub since: Option<Timestamp>,
    /// The amount in minor units, by time; unset until the first.
    pub amounts: Vec<(Timestamp, i64)>,
    /// The ad it came from and when that was clicked: the truth, which the CRM does not know.
    pub click: Option<(usize, Timestamp)>,
    /// Whether it was in the CRM before the world began and says nothing.
    pub is_backlog: bool,
}

/// A deal as it stands at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) struct DealView {
    pub stage: usize,
    pub stage_since: Timestamp,
    pub amount_minor: Option<i64>,
    pub is_archived: bool,
    pub modified: Timestamp,
}

impl Deal {
    /// The deal as it stands at `at`; `None` before it exists.
    pub(in crate::sandbox) fn view(&self, at: Timestamp) -> Option<DealView> {
        if self.since.is_some_and(|since| since > at) {
            return None;
        }
        let (stage_since, stage) = *self.stages.iter().rfind(|(t, _)| *t <= at)?;
        let amount = self.amounts.iter().rfind(|(t, _)| *t <= at);
        let archived = self.archived.iter().rfind(|(t, _)| *t <= at);
        let merged = self.merged.iter().rfind(|(t, _)| *t <= at);
        let others = [
            amount.map(|(t, _)| *t),
            archived.map(|(t, _)| *t),
            merged.map(|(t, _)| *t),
            self.since,
        ];
        Some(DealView {
            stage,
            stage_since,
            amount_minor: amount.map(|(_, minor)| *minor),
            is_archived: archived.is_some_and(|(_, is)| *is),
            modified: others
                .into_iter()
                .flatten()
                .fold(stage_since, Timestamp::max),
        })
    }
}

/// A change in the CRM that HubSpot tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct CrmEvent {
    pub at: Timestamp,
    pub deal: u64,
    pub kind: CrmKind,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum CrmKind {
    Creation,
    Association {
        contact: u64,
    },
    Property {
        name: &'static str,
        value: String,
    },
    Deletion,
    Restore,
    /// What is left of a merge is the event's deal.
    Merge {
        primary: u64,
        others: Vec<u64>,
    },
}

/// Probability of step `i` for a lead of this quality.
pub(super) fn step(funnel: &Funnel, i: usize, quality: f64) -> f64 {
    let share = [0.5, 0.2, 0.3].get(i).copied().unwrap_or(0.0);
    let base = funnel.steps.get(i).copied().unwrap_or(0.0) * funnel.steps_factor;
    (base * libm::pow(quality, share)).min(0.92)
}

/// Share of sales that are undone later.
pub(super) const UNDONE: f64 = 0.03;

/// What a lead of this quality is worth in expectation, in minor units.
pub(super) fn expected_minor(funnel: &Funnel, quality: f64) -> f64 {
    let won: f64 = (0..funnel.steps.len())
        .map(|i| step(funnel, i, quality))
        .product();
    won * funnel.amount_minor * (1.0 - UNDONE)
}

/// Stages and amounts of one deal.
struct Course {
    stages: Vec<(Timestamp, usize)>,
    amounts: Vec<(Timestamp, i64)>,
}

fn after(at: Timestamp, days: f64) -> Timestamp {
    let millis = (days * 86_400_000.0).max(1_000.0) as i64;
    time::add(at, time::millis(millis))
}

fn course(
    business: Business,
    funnel: &Funnel,
    quality: f64,
    created: Timestamp,
    draw: Draw,
) -> Course {
    let last = business.stages().len().saturating_sub(1);
    let spread = funnel.amount_spread;
    let luck = libm::exp(spread * draw.named("amount").normal() - spread * spread / 2.0);
    // Whole main units and a price's cents.
    let amount = (funnel.amount_minor * luck / 100.0).round() as i64 * 100;
    let mut stages = vec![(created, 0)];
    let mut amounts = Vec::new();
    let mut at = created;
    let mut won = true;
    for i in 0..funnel.steps.len() {
        let here = draw.named("step").of(i as u64);
        if !here.named("goes").chance(step(funnel, i, quality)) {
            won = false;
            break;
        }
        let days = funnel.days.get(i).copied().unwrap_or(1.0) * funnel.days_factor;
        at = after(at, here.named("days").gamma(2, days));
        stages.push((at, i + 1));
        if i == 1 {
            if here.named("moved").chance(0.06) {
                // The appointment is put off: the deal goes back and comes again.
                at = after(at, 0.05);
                stages.push((at, i));
                at = after(at, here.named("again").gamma(2, days));
                stages.push((at, i + 1));
            }
            // The salesperson writes down what was talked about; the sale may differ.
            let guess = amount as f64 * (1.0 + 0.1 * here.named("guess").normal());
            amounts.push((at, (guess / 10_000.0).round().max(1.0) as i64 * 10_000));
        }
    }
    if won {
        amounts.push((at, amount));
        if draw.named("undone").chance(UNDONE) {
            let at = after(at, draw.named("undone days").gamma(2, funnel.lost_days));
            stages.push((at, last));
        }
    } else if draw.named("closed").chance(0.85) {
        // The others stay open for ever, as they do.
        let at = after(at, draw.named("lost days").gamma(2, funnel.lost_days));
        stages.push((at, last));
    }
    Course { stages, amounts }
}

const FIRST: &[&str] = &[
    "Ana", "Ben", "Carla", "David", "Elif", "Frank", "Grace", "Hassan", "Ines", "Jonas", "Karin",
    "Liam", "Mei", "Nora", "Omar", "Paula",
];
const LAST: &[&str] = &[
    "Adams", "Becker", "Costa", "Diaz", "Evans", "Fischer", "Gomez", "Hughes", "Ito", "Jansen",
    "Klein", "Lopez", "Meyer", "Novak", "Olsen", "Peters",
];

impl Market {
    /// A click that becomes a lead; the amount that Meta's pixel sees, in minor units.
    pub(super) fn lead(
        &mut self,
        ad: usize,
        tick: i64,
        n: u64,
        click: Draw,
        clicked: Timestamp,
        quality: f64,
    ) -> i64 {
        let slot = tick.unsigned_abs() * 1_000 + ad as u64 * 40 + n.min(39);
        let id = 20_000_000_000 + slot;
        let trail = self.trail(ad, click, clicked);
        let created = trail.created;
        let course = course(
            self.business,
            &self.funnel,
            quality,
            created,
            click.named("course"),
        );
        let value = if self.funnel.steps.is_empty() {
            course.amounts.first().map_or(0, |(_, minor)| *minor)
        } else {
            0
        };
        for (i, visit) in trail.visits.into_iter().enumerate() {
            let key = (visit.at, id, i as u8);
            self.pending.insert(key, Event::Visit(visit));
        }
        self.open_deal(
            id,
            created,
            course,
            trail.properties,
            Some((ad, clicked)),
            click,
        );
        if trail.is_form {
            self.form_lead(id, ad, clicked);
        }
        value
    }

    /// The form at Meta that the deal `id` began with, filled in a moment after the click.
    fn form_lead(&mut self, id: u64, ad: usize, clicked: Timestamp) {
        let contact = contact_of(id);
        let known = self.contacts.get(&contact);
        let email = known.and_then(|contact| contact.properties.get("email"));
        let lead = FormLead {
            id: 900_000_000_000_000 + id,
            created: time::add(clicked, time::seconds(40)),
            ad,
            // As people type on a phone.
            email: email.cloned().unwrap_or_default().to_uppercase(),
        };
        self.pending
            .insert((lead.created, id, 5), Event::Lead(lead.id));
        self.leads.insert(lead.id, lead);
    }

    /// Visitors and deals that no ad had a part in.
    pub(super) fn organic(&mut self, tick: i64, at: Timestamp) {
        let organic = self.business.organic();
        let draw = self.draw.named("organic").of(tick.unsigned_abs());
        let span = self.tick_millis();
        let when = |person: Draw| {
            let millis = person.named("at").below(span) as i64;
            time::add(at, time::millis(millis))
        };
        let lookers = draw.named("lookers");
        let looks = organic.looks_per_day * self.sample * self.stride as f64 / 144.0;
        for k in 0..lookers.poisson(looks) {
            let person = lookers.of(k);
            self.organic_look(person, when(person));
        }
        for k in 0..draw
            .poisson(organic.deals_per_day * self.stride as f64 / 144.0)
            .min(30)
        {
            let person = draw.of(k);
            let visited = when(person);
            let id = 20_000_000_000 + tick.unsigned_abs() * 1_000 + 960 + k;
            let (created, properties, visit) = self.organic_trail(person, visited);
            if let Some(visit) = visit {
                self.pending.insert((visit.at, id, 0), Event::Visit(visit));
            }
            let course = course(
                self.business,
                &self.funnel,
                1.0,
                created,
                person.named("course"),
            );
            self.open_deal(id, created, course, properties, None, person);
        }
    }

    fn open_deal(
        &mut self,
        id: u64,
        created: Timestamp,
        course: Course,
        mut properties: BTreeMap<&'static str, String>,
        click: Option<(usize, Timestamp)>,
        draw: Draw,
    ) {
        let first = draw.named("first").pick(FIRST).copied().unwrap_or("Ana");
        let last = draw.named("last").pick(LAST).copied().unwrap_or("Adams");
        let contact = contact_of(id);
        properties.insert("firstname", first.to_owned());
        properties.insert("lastname", last.to_owned());
        let email = format!(
            "{}.{}.{id}@example.com",
            first.to_lowercase(),
            last.to_lowercase()
        );
        properties.insert("email", email);
        let mut contacts = vec![contact];
        self.contacts.insert(
            contact,
            Contact {
                id: contact,
                created,
                properties,
            },
        );
        if draw.named("partner").chance(0.06) {
            // A partner signs too, and came without a click of their own.
            contacts.insert(0, contact + 1);
            let partner = BTreeMap::from([
                ("firstname", "Partner".to_owned()),
                ("lastname", last.to_owned()),
            ]);
            self.contacts.insert(
                contact + 1,
                Contact {
                    id: contact + 1,
                    created,
                    properties: partner,
                },
            );
        }
        let deal = Deal {
            id,
            name: format!("{first} {last}"),
            contacts,
            created,
            stages: course.stages,
            amounts: course.amounts,
            archived: Vec::new(),
            merged: Vec::new(),
            is_merged: false,
            since: None,
            click,
            is_backlog: false,
        };
        self.announce(&deal);
        self.deals.insert(id, deal);
    }

    /// Books the changes of a deal that HubSpot will tell of.
    fn announce(&mut self, deal: &Deal) {
        let mut n = 10;
        let mut push = |at: Timestamp, kind: CrmKind| {
            let event = CrmEvent {
                at,
                deal: deal.id,
                kind,
            };
            self.pending.insert((at, deal.id, n), Event::Crm(event));
            n += 1;
        };
        push(deal.created, CrmKind::Creation);
        for contact in &deal.contacts {
            push(deal.created, CrmKind::Association { contact: *contact });
        }
        for (at, stage) in &deal.stages {
            let stage = self.business.stages().get(*stage);
            push(
                *at,
                CrmKind::Property {
                    name: "dealstage",
                    value: stage.map_or("", |s| s.hubspot_stage).to_owned(),
                },
            );
        }
        for (at, minor) in &deal.amounts {
            push(
                *at,
                CrmKind::Property {
                    name: "amount",
                    value: decimal(*minor),
                },
            );
        }
    }

    /// Old deals without a trace, for tests of the search.
    pub(super) fn backlog(&mut self, plan: &super::MarketPlan) {
        if plan.backlog_as_lived {
            self.past(plan);
            return;
        }
        let from = time::sub(self.born, time::days(200));
        for i in 0..plan.backlog_deals {
            let at = if plan.backlog_in_one_instant {
                from
            } else {
                time::add(from, time::minutes(i64::from(i)))
            };
            let contacts = if i == 0 {
                plan.crowded_deal_contacts.max(1)
            } else {
                0
            };
            let base = 50_000_000_000 + u64::from(i) * 1_000;
            let contacts: Vec<u64> = (0..u64::from(contacts)).map(|c| base + c).collect();
            for id in &contacts {
                self.contacts.insert(
                    *id,
                    Contact {
                        id: *id,
                        created: at,
                        properties: BTreeMap::from([("firstname", format!("Old {id}"))]),
                    },
                );
            }
            let id = 10_000_000_000 + u64::from(i);
            let lost = self.business.stages().len().saturating_sub(1);
            self.deals.insert(
                id,
                Deal {
                    id,
                    name: format!("Backlog {i}"),
                    contacts,
                    created: at,
                    stages: vec![(at, lost)],
                    amounts: Vec::new(),
                    archived: Vec::new(),
                    merged: Vec::new(),
                    is_merged: false,
                    since: None,
                    click: None,
                    is_backlog: true,
                },
            );
        }
    }
}

impl Market {
    /// A business's past: deals that came evenly, two of three by an ad that their contact names, and
    /// are closed by now, one in five won.
    fn past(&mut self, plan: &super::MarketPlan) {
        let days = time::days(80);
        let from = time::sub(self.born, days);
        let n = i64::from(plan.backlog_deals.max(1));
        let step = i64::try_from(days.as_millis()).unwrap_or(0) / n;
        let stages = self.business.stages();
        let lost = stages.len().saturating_sub(1);
        let won = stages.iter().position(|s| s.probability == "1.0");
        let ads: Vec<String> = (0..self.ads.len())
            .map(|ad| self.path_of(ad)[0].clone())
            .collect();
        for i in 0..plan.backlog_deals {
            let n = u64::from(i);
            let created = time::add(from, time::millis(i64::from(i) * step));
            let closed = time::add(created, time::hours(20));
            let id = 10_000_000_000 + n;
            let contact = 70_000_000_000 + n;
            let mut properties = BTreeMap::from([("firstname", format!("Old {i}"))]);
            if i % 3 != 0
                && let Some(ad) = ads.get(i as usize % ads.len().max(1))
            {
                properties.insert("ad_id", ad.clone());
            }
            self.contacts.insert(
                contact,
                Contact {
                    id: contact,
                    created,
                    properties,
                },
            );
            let won = won.filter(|_| i % 5 == 0);
            let end = won.unwrap_or(lost);
            self.deals.insert(
                id,
                Deal {
                    id,
                    name: format!("Past {i}"),
                    contacts: vec![contact],
                    created,
                    stages: vec![(created, 0), (closed, end)],
                    amounts: won
                        .map(|_| (closed, 10_000 + i64::from(i % 900) * 100))
                        .into_iter()
                        .collect(),
                    archived: Vec::new(),
                    merged: Vec::new(),
                    is_merged: false,
                    since: None,
                    click: None,
                    is_backlog: true,
                },
            );
        }
    }
}

/// Minor units (hundredths) as HubSpot writes amounts: `1500`, `1500.5`.
pub(in crate::sandbox) fn decimal(minor: i64) -> String {
    let (whole, cents) = (minor / 100, minor % 100);
    match cents {
        0 => whole.to_string(),
        c if c % 10 == 0 => format!("{whole}.{}", c / 10),
        c => format!("{whole}.{c:02}"),
    }
}
