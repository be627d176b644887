//! A pure model of one tenant's market: ads that deliver, people who click, deals that take days.
//!
//! Time goes in ticks of ten minutes. A tick's delivery is settled when it begins, from the budgets
//! and statuses then in force, so an edit counts from the next tick on: Meta needs up to fifteen
//! minutes for one too. Each draw is keyed by what it is about (ad and tick, click, budget and
//! day), so that however often the market is asked to move, it arrives at the same place, and a
//! market that was edited meets the same luck as one that was not.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::domain::money::Currency;
use crate::domain::time::{self, SignedDuration, TimeZone, Timestamp};

use super::business::{self, Auction, Business, Character, Funnel, Hidden, Theme};
use super::draw::Draw;
use super::faults::HumanEdit;

mod account;
mod device;
mod edits;
mod journey;
mod truth;
mod visitor;

pub(super) use account::{Activity, AdNode, Applied, Field, Level, Node, Refusal, Write};
pub(super) use journey::{Contact, CrmEvent, CrmKind, Deal, DealView, FormLead, decimal};
pub(super) use visitor::Visit;

const TICKS_PER_HOUR: i64 = 6;

/// How the day's budget is spread over the hours of the account's day; sums to 24.
const DIURNAL: [f64; 24] = [
    0.45, 0.30, 0.22, 0.20, 0.25, 0.40, 0.70, 0.95, 1.05, 1.10, 1.12, 1.18, 1.25, 1.22, 1.18, 1.18,
    1.22, 1.30, 1.45, 1.62, 1.72, 1.52, 1.42, 1.00,
];

/// What one ad did in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Thousandths of a minor unit.
    pub spend_milli: u64,
    pub impressions: u64,
    pub clicks: u64,
    /// Leads (orders) of those clicks, and their amount where it is known at once, in minor units.
    pub leads: u64,
    pub lead_value_minor: i64,
}

/// Something that reaches roasd by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// A page was opened.
    Visit(Visit),
    /// A deal changed in the CRM.
    Crm(CrmEvent),
    /// Somebody filled in a lead form; the lead of this id.
    Lead(u64),
}

/// What one ad carries besides its node.
#[derive(Debug, Clone)]
struct AdState {
    node: usize,
    hidden: Hidden,
    /// Meta's own liking for the ad.
    favour: f64,
    impressions: u64,
    /// By hour since the world was born.
    cells: Vec<Cell>,
    expected_minor: Vec<f64>,
    draw: Draw,
}

#[derive(Debug, Clone)]
struct SetState {
    ads: Vec<usize>,
    /// The budget it begins with, in minor units; prices there are the account's usual ones.
    reference_minor: f64,
    /// Half-saturation in multiples of that budget.
    depth: f64,
    favour: f64,
}

/// What holds a budget: an ad set, or a campaign with its ad sets.
#[derive(Debug, Clone)]
struct Holder {
    node: usize,
    sets: Vec<usize>,
    draw: Draw,
    day: i64,
    spent_day_milli: f64,
    week: i64,
    spent_week_milli: f64,
    accrued_minor: f64,
    peak_minor: f64,
}

/// One tenant's market.
#[derive(Debug, Clone)]
pub(super) struct Market {
    pub(super) business: Business,
    pub(super) currency: Currency,
    pub(super) zone: TimeZone,
    pub(super) born: Timestamp,
    pub(super) start: Timestamp,
    pub(super) nodes: Vec<Node>,
    pub(super) activities: Vec<Activity>,
    pub(super) deals: BTreeMap<u64, Deal>,
    pub(super) contacts: BTreeMap<u64, Contact>,
    /// Leads of lead forms, by their id.
    pub(super) leads: BTreeMap<u64, FormLead>,
    index: HashMap<String, usize>,
    draw: Draw,
    character: Character,
    auction: Auction,
    funnel: Funnel,
    /// Ticks that are settled at once.
    stride: i64,
    ads: Vec<AdState>,
    sets: Vec<SetState>,
    holders: Vec<Holder>,
    next_tick: i64,
    pending: BTreeMap<(Timestamp, u64, u8), Event>,
    scheduled: Vec<(Timestamp, Write)>,
    /// Who clicked lately and did nothing, and when.
    warm: VecDeque<(Timestamp, Draw)>,
    sample: f64,
    lead_forms: f64,
    /// The time up to which the market has been moved.
    moved_to: Timestamp,
}

/// What a market is made from.
#[derive(Debug, Clone)]
pub(super) struct MarketPlan {
    pub seed: u64,
    pub tenant: String,
    pub business: Business,
    pub character: Character,
    /// Ticks of ten minutes that are settled at once: 1, or 6 where an hour is fine enough.
    pub stride: i64,
    /// Digits of the ad account.
    pub account: String,
    pub start: Timestamp,
    pub history: SignedDuration,
    pub visit_sample: f64,
    /// Share of leads by a lead form at Meta.
    pub lead_forms: f64,
    pub backlog_deals: u32,
    pub backlog_in_one_instant: bool,
    pub backlog_as_lived: bool,
    pub crowded_deal_contacts: u32,
}

impl Market {
    /// The ids of an ad, its ad set and its campaign.
    pub(super) fn path_of(&self, ad: usize) -> [String; 3] {
        let mut node = self.ads.get(ad).map(|ad| ad.node);
        std::array::from_fn(|_| {
            let here = node.and_then(|at| self.nodes.get(at));
            node = here.and_then(|here| here.parent);
            here.map_or_else(String::new, |here| here.id.clone())
        })
    }

    /// The market as it is born.
    pub(super) fn new(plan: &MarketPlan) -> Self {
        let hour = 3_600_000_000;
        let born = time::to_micros(time::sub(plan.start, plan.history));
        let born = time::from_micros(born.div_euclid(hour) * hour);
        let business = plan.business;
        let mut market = Self {
            business,
            currency: business.currency(),
            zone: TimeZone::get(business.zone()).unwrap_or(TimeZone::UTC),
            born,
            start: plan.start,
            nodes: Vec::new(),
            activities: Vec::new(),
            deals: BTreeMap::new(),
            contacts: BTreeMap::new(),
            index: HashMap::new(),
            draw: Draw::seeded(plan.seed).named(&plan.tenant),
            character: plan.character,
            auction: plan.character.auction(business.auction()),
            funnel: plan.character.funnel(business.funnel()),
            stride: plan.stride.max(1),
            ads: Vec::new(),
            sets: Vec::new(),
            holders: Vec::new(),
            next_tick: 0,
            pending: BTreeMap::new(),
            scheduled: Vec::new(),
            warm: VecDeque::new(),
            sample: plan.visit_sample,
            lead_forms: plan.lead_forms,
            leads: BTreeMap::new(),
            moved_to: born,
        };
        market.build(plan);
        market.backlog(plan);
        market
    }

    fn build(&mut self, plan: &MarketPlan) {
        let business = plan.business;
        let tail = plan.account.get(plan.account.len().saturating_sub(8)..);
        let tail = tail.unwrap_or("0").to_owned();
        let id = |level: u8, n: usize| format!("1202{tail:0>8}{level}{n:03}");
        let created = time::sub(self.born, time::days(4));
        for campaign in business.plan() {
            let campaign_node = self.nodes.len();
            let holds = business.has_campaign_budgets();
            let n = self.count(Level::Campaign);
            let budget =
                (campaign.daily_budget_minor as f64 * self.character.budgets).round() as i64;
            self.push(Node::new(
                id(1, n + 1),
                Level::Campaign,
                None,
                campaign.name,
                holds.then_some(budget),
                created,
            ));
            let mut campaign_sets = Vec::new();
            for set in campaign.sets {
                let at = self.sets.len();
                let set_node = self.nodes.len();
                self.push(Node::new(
                    id(2, at + 1),
                    Level::AdSet,
                    Some(campaign_node),
                    set.name,
                    (!holds).then_some(budget),
                    created,
                ));
                let draw = self.draw.named("set").of(at as u64);
                let set_log = draw.named("audience").normal() * self.auction.set_spread;
                let reference = if holds {
                    budget as f64 / campaign.sets.len() as f64
                } else {
                    budget as f64
                };
                let mut ads = Vec::new();
                for theme in set.themes {
                    let Some(theme) = business.themes().get(*theme) else {
                        continue;
                    };
                    ads.push(self.ads.len());
                    let theme = self.character.theme(theme);
                    self.push_ad(&id, set_node, &theme, set_log, created);
                }
                self.sets.push(SetState {
                    ads,
                    reference_minor: reference,
                    depth: set.depth * self.character.depth,
                    favour: libm::exp(draw.named("favour").normal() * 0.3),
                });
                campaign_sets.push(at);
                if !holds {
                    self.hold(set_node, vec![at]);
                }
            }
            if holds {
                self.hold(campaign_node, campaign_sets);
            }
        }
    }

    fn push_ad(
        &mut self,
        id: &impl Fn(u8, usize) -> String,
        set_node: usize,
        theme: &Theme,
        set_log: f64,
        created: Timestamp,
    ) {
        let n = self.ads.len();
        let node = self.nodes.len();
        let mut ad = Node::new(
            id(3, n + 1),
            Level::Ad,
            Some(set_node),
            &format!("{} {}", theme.name, n + 1),
            None,
            created,
        );
        ad.ad = Some(AdNode {
            creative: id(4, n + 1),
            headline: theme.headline,
            body: theme.body,
        });
        self.push(ad);
        let draw = self.draw.named("ad").of(n as u64);
        self.ads.push(AdState {
            node,
            hidden: Hidden::draw(
                &self.auction,
                &self.funnel,
                theme,
                set_log,
                draw.named("hidden"),
            ),
            favour: libm::exp(draw.named("favour").normal() * 0.25),
            impressions: 0,
            cells: Vec::new(),
            expected_minor: Vec::new(),
            draw,
        });
    }

    fn push(&mut self, node: Node) {
        self.index.insert(node.id.clone(), self.nodes.len());
        self.nodes.push(node);
    }

    fn hold(&mut self, node: usize, sets: Vec<usize>) {
        self.holders.push(Holder {
            node,
            sets,
            draw: self.draw.named("pace").of(node as u64),
            day: i64::MIN,
            spent_day_milli: 0.0,
            week: i64::MIN,
            spent_week_milli: 0.0,
            accrued_minor: 0.0,
            peak_minor: 0.0,
        });
    }

    fn count(&self, level: Level) -> usize {
        self.nodes.iter().filter(|n| n.level == level).count()
    }

    /// The node with this Meta id, or at this place, such as `adset/0`.
    pub(super) fn find(&self, id: &str) -> Option<usize> {
        if let Some(at) = self.index.get(id) {
            return Some(*at);
        }
        let (level, n) = id.split_once('/')?;
        let n: usize = n.parse().ok()?;
        let of = |level| {
            (0..self.nodes.len())
                .filter(move |i| self.nodes.get(*i).is_some_and(|n| n.level == level))
        };
        match level {
            "campaign" => of(Level::Campaign).nth(n),
            "adset" => of(Level::AdSet).nth(n),
            "ad" => of(Level::Ad).nth(n),
            _ => None,
        }
    }

    /// Books edits that people will make; to be called before the market moves.
    pub(super) fn schedule(&mut self, edits: &[HumanEdit]) {
        for edit in edits {
            if let (Some(at), Ok(write)) = (edit.at, self.write_of(edit)) {
                self.scheduled.push((at, write));
            }
        }
        self.scheduled.sort_by_key(|(at, _)| *at);
    }

    /// The write that stands for a person's edit.
    pub(super) fn write_of(&self, edit: &HumanEdit) -> Result<Write, Refusal> {
        Ok(Write {
            node: self.find(&edit.entity).ok_or(Refusal::Unknown)?,
            field: Field::parse(&edit.field)
                .ok_or_else(|| Refusal::BadValue(format!("no field {:?}", edit.field)))?,
            value: edit.value.clone(),
            application_id: edit.application_id.clone(),
            validate_only: false,
        })
    }

    /// Moves the market to `to`: all that happens until then, that instant included, has happened.
    pub(super) fn advance(&mut self, to: Timestamp) {
        loop {
            let tick = self.tick_start(self.next_tick);
            let edit = self.scheduled.first().map(|(at, _)| *at);
            match edit {
                Some(at) if at <= to && at < tick => {
                    let (at, write) = self.scheduled.remove(0);
                    // An edit that Meta would refuse is one that the person could not make.
                    let _ = self.apply(&write, at);
                }
                _ if tick <= to => {
                    self.tick(self.next_tick, tick);
                    self.next_tick += self.stride;
                }
                _ => break,
            }
        }
        self.moved_to = self.moved_to.max(to);
    }

    /// The time up to which the market has been moved.
    pub(super) fn moved_to(&self) -> Timestamp {
        self.moved_to
    }

    /// What reaches roasd until `to`, in order; each event once. To be called after [`Self::advance`].
    pub(super) fn take_events(&mut self, to: Timestamp) -> Vec<(Timestamp, Event)> {
        let mut taken = Vec::new();
        while let Some(entry) = self.pending.first_entry() {
            if entry.key().0 > to {
                break;
            }
            let ((at, ..), event) = entry.remove_entry();
            taken.push((at, event));
        }
        taken
    }

    /// When the market next has something to say or to settle.
    pub(super) fn next_due(&self) -> Timestamp {
        let tick = self.tick_start(self.next_tick);
        self.pending
            .first_key_value()
            .map_or(tick, |((at, ..), _)| (*at).min(tick))
    }

    /// The length of what is settled at once, milliseconds.
    fn tick_millis(&self) -> u64 {
        600_000 * self.stride.unsigned_abs()
    }

    fn tick_start(&self, tick: i64) -> Timestamp {
        time::add(self.born, time::minutes(tick * 10))
    }

    fn tick(&mut self, tick: i64, at: Timestamp) {
        let local = self.zone.to_datetime(at);
        let day = super::epoch_day(local.date());
        let weekday = i64::from(local.weekday().to_sunday_zero_offset());
        let hour = usize::try_from(local.hour()).unwrap_or(0);
        let elapsed =
            weekday as f64 + (f64::from(local.hour()) * 60.0 + f64::from(local.minute())) / 1_440.0;
        let weight = DIURNAL.get(hour).copied().unwrap_or(1.0) * self.stride as f64 / 144.0;
        let days = time::days_between(self.born, at);
        for h in 0..self.holders.len() {
            let Some(amount) = self.pace(h, day, day - weekday, elapsed, weight) else {
                continue;
            };
            let spent = self.spend(h, amount, tick, at, days);
            if let Some(holder) = self.holders.get_mut(h) {
                holder.spent_day_milli += spent;
                holder.spent_week_milli += spent;
            }
        }
        self.organic(tick, at);
    }

    /// What a holder may spend in a tick, in minor units; `None` when it is off.
    fn pace(&mut self, h: usize, day: i64, week: i64, elapsed: f64, weight: f64) -> Option<f64> {
        let stride = self.stride as f64;
        let holder = self.holders.get_mut(h)?;
        if holder.day != day {
            holder.day = day;
            holder.spent_day_milli = 0.0;
        }
        if holder.week != week {
            holder.week = week;
            holder.spent_week_milli = 0.0;
            holder.accrued_minor = 0.0;
            holder.peak_minor = 0.0;
        }
        let budget = self.nodes.get(holder.node)?.daily_budget? as f64;
        let mood = holder.draw.of(day.unsigned_abs()).normal();
        let factor = (0.99 * libm::exp(0.22 * mood)).clamp(0.5, 1.75);
        holder.peak_minor = holder.peak_minor.max(budget);
        // "At most 7 x daily per Sunday-Saturday week": with edits, of what was in force when.
        let week_limit =
            (holder.accrued_minor + budget * (7.0 - elapsed)).min(7.0 * holder.peak_minor);
        holder.accrued_minor += budget * stride / 144.0;
        let day_room = 1.75 * budget - holder.spent_day_milli / 1_000.0;
        let week_room = week_limit - holder.spent_week_milli / 1_000.0;
        Some((budget * weight * factor).min(day_room).min(week_room)).filter(|x| *x > 0.0)
    }

    /// Splits a holder's tick over its live ads; what was spent, in thousandths of a minor unit.
    fn spend(&mut self, h: usize, amount: f64, tick: i64, at: Timestamp, days: f64) -> f64 {
        let Some(holder) = self.holders.get(h) else {
            return 0.0;
        };
        let budget = self.nodes.get(holder.node).and_then(|n| n.daily_budget);
        let budget = budget.unwrap_or(0) as f64;
        let mut plans = Vec::new();
        for s in &holder.sets {
            let Some(set) = self.sets.get(*s) else {
                continue;
            };
            let live: Vec<(usize, f64)> = set
                .ads
                .iter()
                .filter_map(|a| self.ads.get(*a).map(|ad| (*a, ad)))
                .filter(|(_, ad)| self.is_live(ad.node))
                .map(|(a, ad)| (a, self.click_rate(ad, days)))
                .collect();
            if live.is_empty() {
                continue;
            }
            let mean = live.iter().map(|(_, ctr)| ctr).sum::<f64>() / live.len() as f64;
            let weight = set.favour * libm::pow(mean / self.auction.ctr, 1.2);
            plans.push((set.reference_minor, set.depth, weight, live));
        }
        let total: f64 = plans.iter().map(|(_, _, weight, _)| weight).sum();
        let mut spent = 0.0;
        for (reference, k, weight, live) in plans {
            let share = weight / total;
            // Each further unit of budget meets people who are dearer to reach.
            let crowding = (1.0 + budget * share / (k * reference)) / (1.0 + 1.0 / k);
            let cpm = self.auction.cpm_minor * crowding;
            let liking = |(a, ctr): &(usize, f64)| {
                let favour = self.ads.get(*a).map_or(1.0, |ad| ad.favour);
                favour * libm::pow(ctr / self.auction.ctr, 1.5)
            };
            let likings: Vec<f64> = live.iter().map(liking).collect();
            let sum: f64 = likings.iter().sum();
            for ((a, ctr), liking) in live.into_iter().zip(likings) {
                spent += self.show(a, amount * share * liking / sum, cpm, ctr, tick, at);
            }
        }
        spent
    }

    fn click_rate(&self, ad: &AdState, days: f64) -> f64 {
        let fresh = business::freshness(&self.auction, ad.impressions);
        (ad.hidden.ctr * fresh * ad.hidden.drift(days)).clamp(0.000_5, 0.2)
    }

    /// One ad's tick; what it spent, in thousandths of a minor unit.
    fn show(&mut self, a: usize, amount: f64, cpm: f64, ctr: f64, tick: i64, at: Timestamp) -> f64 {
        let funnel = self.funnel;
        let sample = self.sample;
        let millis = self.tick_millis();
        let Some(ad) = self.ads.get_mut(a) else {
            return 0.0;
        };
        let draw = ad.draw.of(tick.unsigned_abs());
        let reach = amount * 1_000.0 / cpm;
        let impressions = draw.named("impressions").whole(reach);
        let clicks = draw.named("clicks").poisson(reach * ctr);
        // Clicks without an impression do not exist.
        let impressions = impressions.max(clicks);
        let milli = libm::floor(amount * 1_000.0) as u64;
        let hour = usize::try_from(tick / TICKS_PER_HOUR).unwrap_or(0);
        ad.impressions += impressions;
        if ad.cells.len() <= hour {
            ad.cells.resize(hour + 1, Cell::default());
            ad.expected_minor.resize(hour + 1, 0.0);
        }
        let hidden = ad.hidden;
        let per_click = hidden.cvr * journey::expected_minor(&funnel, hidden.quality);
        let mut leads = 0;
        let mut value = 0;
        for k in 0..clicks {
            let click = draw.named("click").of(k);
            let clicked = time::add(at, time::millis(click.named("at").below(millis) as i64));
            if click.named("lead").chance(hidden.cvr) {
                value += self.lead(a, tick, leads, click, clicked, hidden.quality);
                leads += 1;
            } else if click.named("sample").chance(sample) {
                self.idle_visit(a, click, clicked);
            }
        }
        if let Some(ad) = self.ads.get_mut(a) {
            if let Some(cell) = ad.cells.get_mut(hour) {
                cell.spend_milli += milli;
                cell.impressions += impressions;
                cell.clicks += clicks;
                cell.leads += leads;
                cell.lead_value_minor += value;
            }
            if let Some(expected) = ad.expected_minor.get_mut(hour) {
                // By what the money buys on average, not by the clicks that chance gave.
                *expected += reach * ctr * per_click;
            }
        }
        milli as f64
    }

    /// Every ad with its cells by hour since [`Self::born`].
    pub(super) fn cells(&self) -> impl Iterator<Item = (usize, &[Cell])> {
        self.ads.iter().map(|ad| (ad.node, ad.cells.as_slice()))
    }

    /// What the ads under `node` spent on the account's current day, in minor units, rounded up.
    pub(super) fn spent_today_minor(&self, node: usize, now: Timestamp) -> i64 {
        let day = time::day_start(time::day_of(now, &self.zone), &self.zone);
        let from = usize::try_from(time::between(self.born, day).as_secs() / 3_600).unwrap_or(0);
        let milli: u64 = self
            .ads
            .iter()
            .filter(|ad| self.is_under(ad.node, node))
            .flat_map(|ad| ad.cells.iter().skip(from))
            .map(|cell| cell.spend_milli)
            .sum();
        i64::try_from(milli.div_ceil(1_000)).unwrap_or(i64::MAX)
    }

    /// Leads of the ads under `node` since `from`.
    pub(super) fn leads_since(&self, node: usize, from: Timestamp) -> u64 {
        let from = time::between(self.born, from).as_secs() / 3_600;
        let from = usize::try_from(from).unwrap_or(0);
        self.ads
            .iter()
            .filter(|ad| self.is_under(ad.node, node))
            .flat_map(|ad| ad.cells.iter().skip(from))
            .map(|cell| cell.leads)
            .sum()
    }
}

#[cfg(test)]
mod recognition;
#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod worth;
