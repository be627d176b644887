//! How the figures of an account are read, however many they are: a pass over some days is cut into
//! parts, each part is read at once or ordered as a report, and a part that is too much for Meta is
//! cut again, first by days, then by campaigns; pure. A pass is kept after each step, so that a
//! restart goes on where it was, and no step waits: whoever takes them rests between them.
//!
//! Source: Meta, "Insights API, best practices" and "Asynchronous jobs".

use serde::{Deserialize, Serialize};

use super::errors::{Class, Envelope, classify};
use super::limits::HOUR;
use crate::domain::ids::CampaignId;
use crate::domain::time::{self, Date, SignedDuration, Timestamp};

/// How long after it was ordered a report is first asked after; the wait doubles.
const FIRST_POLL: SignedDuration = time::seconds(10);
/// The longest wait between two looks at a report.
const LONGEST_POLL: SignedDuration = time::minutes(5);
/// A report that failed, was skipped or ran out of time is ordered again so often, then cut.
const ORDERS: u32 = 3;
/// A part that brought no answer so often is cut as one that is too much: a gateway's time-out
/// looks like any other silence.
const SILENCES: u32 = 3;
/// A pass older than this begins anew: its first parts are out of date.
const STALE: SignedDuration = time::hours(12);
/// Rows of a part that is read at once, until Meta says that it is too much.
const FIRST_AT_ONCE: u64 = 10_000;
/// The fewest rows that a part is made for.
const LEAST_AT_ONCE: u64 = 250;
/// Rows that one report is ordered for.
const REPORT_ROWS: u64 = 50_000;

/// What bounds reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportLimits {
    /// A pass that is expected to bring more rows is ordered as reports.
    pub from_rows: u64,
    /// A report that is not ready after so long is given up, and ordered smaller.
    pub deadline: SignedDuration,
    /// Reports of one pass that may be under way at once.
    pub in_flight: usize,
}

impl Default for ReportLimits {
    fn default() -> Self {
        Self {
            from_rows: 5_000,
            deadline: HOUR,
            in_flight: 3,
        }
    }
}

/// What is known of an account's size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Rows of one day.
    pub rows_per_day: f64,
    /// Rows that may be read at once.
    pub at_once: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            rows_per_day: 0.0,
            at_once: FIRST_AT_ONCE,
        }
    }
}

impl Size {
    /// Learns from a part that was read whole.
    #[must_use]
    pub fn read(self, part: &Part, rows: u64) -> Self {
        if !part.campaigns.is_empty() {
            return self;
        }
        let found = (rows as f64 / part.days().max(1) as f64).ceil();
        Self {
            // Quickly up, slowly down: a small day does not make a small account.
            rows_per_day: found.max(self.rows_per_day * 0.9),
            at_once: (self.at_once + self.at_once / 20).min(FIRST_AT_ONCE),
        }
    }

    /// The size as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Size::to_text`] wrote.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let size: Self = serde_json::from_str(text).ok()?;
        (size.rows_per_day.is_finite() && size.rows_per_day >= 0.0).then_some(size)
    }

    /// Learns from a part that was too much.
    #[must_use]
    pub fn too_much(self) -> Self {
        Self {
            at_once: (self.at_once / 2).max(LEAST_AT_ONCE),
            ..self
        }
    }
}

/// A report under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Meta's number of it.
    pub run: String,
    ordered_us: i64,
    poll_us: i64,
    polls: u32,
    was_missing: bool,
}

/// Some days of an account, or of some of its campaigns, that are still to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    since: String,
    until: String,
    /// These campaigns alone; all when there are none.
    campaigns: Vec<String>,
    orders: u32,
    silences: u32,
    order: Option<Order>,
}

fn date(text: &str) -> Date {
    // Written by `Part::of` alone, or the pass would not have been read.
    time::parse_date(text).unwrap_or_default()
}

impl Part {
    fn of(since: Date, until: Date) -> Self {
        Self {
            since: since.to_string(),
            until: until.to_string(),
            campaigns: Vec::new(),
            orders: 0,
            silences: 0,
            order: None,
        }
    }

    /// Its first day.
    #[must_use]
    pub fn since(&self) -> Date {
        date(&self.since)
    }

    /// Its last day.
    #[must_use]
    pub fn until(&self) -> Date {
        date(&self.until)
    }

    /// How many days it has.
    #[must_use]
    pub fn days(&self) -> i64 {
        let hours = self.since().duration_until(self.until()).as_hours();
        hours / 24 + 1
    }

    /// Its campaigns; all of the account when there are none.
    #[must_use]
    pub fn campaigns(&self) -> Vec<CampaignId> {
        let ids = self.campaigns.iter();
        ids.filter_map(|id| CampaignId::new(id).ok()).collect()
    }

    /// The report that was ordered of it.
    #[must_use]
    pub fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    /// Two halves, by days while there are several, else by campaigns; `None` when it is the figures
    /// of one campaign's day.
    fn halves(&self, campaigns: &[CampaignId]) -> Option<[Self; 2]> {
        let days = self.days();
        if days > 1 {
            let middle = time::add_days(self.since(), days / 2);
            let half = |since, until| Self {
                campaigns: self.campaigns.clone(),
                ..Self::of(since, until)
            };
            let first = half(self.since(), time::add_days(middle, -1));
            // The newest first, as everywhere.
            return Some([half(middle, self.until()), first]);
        }
        let of: Vec<String> = if self.campaigns.is_empty() {
            campaigns.iter().map(|id| id.as_str().to_owned()).collect()
        } else {
            self.campaigns.clone()
        };
        if of.len() < 2 {
            return None;
        }
        let (left, right) = of.split_at(of.len() / 2);
        Some([left, right].map(|campaigns| Self {
            campaigns: campaigns.to_vec(),
            ..Self::of(self.since(), self.until())
        }))
    }
}

/// What Meta says of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportState {
    /// Not ready yet.
    Running,
    /// Ready to be read.
    Ready,
    /// Expired before it ran.
    Skipped,
    /// It failed.
    Failed {
        /// Because it was too much.
        is_too_much: bool,
        /// What Meta said.
        detail: String,
    },
    /// Not there: a fresh one may not be readable yet.
    Missing,
}

impl ReportState {
    /// Reads `async_status` and what goes with it. Only a completed one of 100 % is ready; what is
    /// not known is not ready either.
    #[must_use]
    pub fn of(status: &str, percent: Option<f64>, error: &Envelope) -> Self {
        match status {
            "Job Completed" if percent.is_some_and(|percent| percent >= 100.0) => Self::Ready,
            "Job Skipped" => Self::Skipped,
            "Job Failed" => Self::Failed {
                is_too_much: classify(error, 400) == Class::TooMuch,
                detail: error.describe(),
            },
            _ => Self::Running,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read this part at once.
    Read(usize),
    /// Order this part as a report.
    Order(usize),
    /// Ask after this part's report.
    Ask(usize),
    /// Nothing until then.
    Rest(Timestamp),
    /// All is read.
    Done,
}

/// What came of asking after a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its rows can be read.
    Ready,
    /// Later again, or ordered again, or in halves.
    GoesOn,
    /// It cannot be made smaller: the pass goes on without this part.
    GivenUp(String),
}

/// A read of the figures of some days.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    started_us: i64,
    is_ordered: bool,
    parts: Vec<Part>,
}

impl Pass {
    /// Cuts a span of days into parts, the newest first, by what is known of the account's size.
    #[must_use]
    pub fn plan(
        now: Timestamp,
        (since, until): (Date, Date),
        size: Size,
        limits: &ReportLimits,
    ) -> Self {
        let days = Part::of(since, until).days();
        let expected = size.rows_per_day * days as f64;
        let is_ordered = expected > limits.from_rows as f64;
        let rows = if is_ordered {
            REPORT_ROWS
        } else {
            size.at_once
        };
        let most = if size.rows_per_day > 0.0 {
            ((rows as f64 / size.rows_per_day) as i64).clamp(1, days.max(1))
        } else {
            days.max(1)
        };
        let mut parts = Vec::new();
        let mut last = until;
        while last >= since {
            let first = time::add_days(last, 1 - most).max(since);
            parts.push(Part::of(first, last));
            last = time::add_days(first, -1);
        }
        Self {
            started_us: time::to_micros(now),
            is_ordered,
            parts,
        }
    }

    /// Reads what [`Pass::to_text`] wrote; `None` for anything else, and for a pass that is too old
    /// to go on with.
    #[must_use]
    pub fn of_text(text: &str, now: Timestamp) -> Option<Self> {
        let pass: Self = serde_json::from_str(text).ok()?;
        let is_day = |text: &String| time::parse_date(text).is_ok();
        let is_sound = pass
            .parts
            .iter()
            .all(|part| is_day(&part.since) && is_day(&part.until));
        let age = time::between(time::from_micros(pass.started_us), now);
        (is_sound && !age.is_negative() && age < STALE && !pass.parts.is_empty()).then_some(pass)
    }

    /// The pass as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// When it began.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        time::from_micros(self.started_us)
    }

    /// A part.
    #[must_use]
    pub fn part(&self, at: usize) -> Option<&Part> {
        self.parts.get(at)
    }

    /// How many parts are still to be read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.parts.len()
    }

    /// What to do next: reports that are due are asked after first, then more are ordered, as many
    /// as may be under way; parts that are read at once wait for nothing.
    #[must_use]
    pub fn next(&self, now: Timestamp, limits: &ReportLimits) -> Step {
        if self.parts.is_empty() {
            return Step::Done;
        }
        if !self.is_ordered {
            return Step::Read(0);
        }
        let orders = || {
            let all = self.parts.iter().enumerate();
            all.filter_map(|(at, part)| Some((at, part.order.as_ref()?)))
        };
        let due = orders().min_by_key(|(_, order)| order.poll_us);
        if let Some((at, order)) = due
            && order.poll_us <= time::to_micros(now)
        {
            return Step::Ask(at);
        }
        let fresh = self.parts.iter().position(|part| part.order.is_none());
        match (fresh, due) {
            (Some(at), _) if orders().count() < limits.in_flight.max(1) => Step::Order(at),
            (_, Some((_, order))) => Step::Rest(time::from_micros(order.poll_us)),
            (Some(at), None) => Step::Order(at),
            (None, None) => Step::Done,
        }
    }

    /// A report of a part was ordered.
    pub fn ordered(&mut self, at: usize, run: String, now: Timestamp) {
        if let Some(part) = self.parts.get_mut(at) {
            part.orders += 1;
            part.order = Some(Order {
                run,
                ordered_us: time::to_micros(now),
                poll_us: time::to_micros(time::add(now, FIRST_POLL)),
                polls: 0,
                was_missing: false,
            });
        }
    }

    /// When the figures of a part are those of: a report is worked out from its order on.
    #[must_use]
    pub fn pulled_at(&self, at: usize, now: Timestamp) -> Timestamp {
        let order = self.part(at).and_then(Part::order);
        order.map_or(now, |order| time::from_micros(order.ordered_us))
    }

    /// Meta said how a report stands.
    pub fn told(
        &mut self,
        at: usize,
        state: &ReportState,
        now: Timestamp,
        limits: &ReportLimits,
        campaigns: &[CampaignId],
    ) -> Outcome {
        let Some(part) = self.parts.get_mut(at) else {
            return Outcome::GoesOn;
        };
        let Some(order) = part.order.as_mut() else {
            return Outcome::GoesOn;
        };
        match state {
            ReportState::Ready => Outcome::Ready,
            ReportState::Failed {
                is_too_much: true,
                detail,
            } => self.too_much(at, campaigns, detail),
            ReportState::Failed { detail, .. } => self.again(at, campaigns, detail),
            ReportState::Skipped => self.again(at, campaigns, "it was skipped"),
            // A fresh report may be unreadable once; then it is gone.
            ReportState::Missing if order.was_missing => {
                self.again(at, campaigns, "it is not there")
            }
            ReportState::Running | ReportState::Missing => {
                let age = time::between(time::from_micros(order.ordered_us), now);
                if age >= limits.deadline {
                    return self.too_much(at, campaigns, "it was not ready in time");
                }
                order.was_missing |= *state == ReportState::Missing;
                let wait = FIRST_POLL * 2_i32.pow(order.polls.min(8));
                order.polls += 1;
                order.poll_us = time::to_micros(time::add(now, wait.min(LONGEST_POLL)));
                Outcome::GoesOn
            }
        }
    }

    /// A part is read and recorded.
    pub fn done(&mut self, at: usize) {
        if at < self.parts.len() {
            self.parts.remove(at);
        }
    }

    /// A part brought no answer. `true` when it was cut for that.
    pub fn was_silent(&mut self, at: usize, campaigns: &[CampaignId]) -> bool {
        let Some(part) = self.parts.get_mut(at) else {
            return false;
        };
        part.silences += 1;
        if part.silences < SILENCES {
            return false;
        }
        // What cannot be cut may still be read when the weather is better.
        match part.halves(campaigns) {
            Some(halves) => {
                drop(self.parts.splice(at..=at, halves));
                true
            }
            None => false,
        }
    }

    /// A part is too much for Meta: it is cut in halves.
    pub fn too_much(&mut self, at: usize, campaigns: &[CampaignId], why: &str) -> Outcome {
        let Some(part) = self.parts.get(at) else {
            return Outcome::GoesOn;
        };
        if let Some(halves) = part.halves(campaigns) {
            drop(self.parts.splice(at..=at, halves));
            return Outcome::GoesOn;
        }
        let day = part.since.clone();
        self.parts.remove(at);
        Outcome::GivenUp(format!(
            "the figures of {day} cannot be read even by campaign: {why}"
        ))
    }

    /// A report is ordered again, and cut once that did not help.
    fn again(&mut self, at: usize, campaigns: &[CampaignId], why: &str) -> Outcome {
        match self.parts.get_mut(at) {
            Some(part) if part.orders < ORDERS => {
                part.order = None;
                Outcome::GoesOn
            }
            _ => self.too_much(at, campaigns, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ReportLimits = ReportLimits {
        from_rows: 5_000,
        deadline: time::minutes(60),
        in_flight: 2,
    };

    fn at(seconds: i64) -> Timestamp {
        time::from_seconds(1_800_000_000 + seconds)
    }

    fn day(n: i64) -> Date {
        time::add_days(time::parse_date("2026-11-01").unwrap(), n)
    }

    fn campaigns(count: usize) -> Vec<CampaignId> {
        let ids = (0..count).map(|n| CampaignId::new(format!("{n}")).unwrap());
        ids.collect()
    }

    fn plan(days: i64, rows_per_day: f64) -> Pass {
        let size = Size {
            rows_per_day,
            ..Size::default()
        };
        Pass::plan(at(0), (day(0), day(days - 1)), size, &LIMITS)
    }

    fn shown(pass: &Pass) -> Vec<(i64, i64, usize)> {
        let place = |date: Date| day(0).duration_until(date).as_hours() / 24;
        let parts = pass.parts.iter();
        parts
            .map(|part| {
                (
                    place(part.since()),
                    place(part.until()),
                    part.campaigns.len(),
                )
            })
            .collect()
    }

    fn failed(code: i64, subcode: i64) -> ReportState {
        let error = Envelope {
            code: Some(code),
            subcode: Some(subcode),
            ..Envelope::default()
        };
        ReportState::of("Job Failed", Some(0.0), &error)
    }

    #[test]
    fn a_pass_is_cut_by_what_is_known_of_the_account() {
        assert_eq!(shown(&plan(28, 0.0)), [(0, 27, 0)], "nothing is known");
        assert_eq!(shown(&plan(28, 100.0)), [(0, 27, 0)], "a small one");
        assert_eq!(plan(28, 100.0).next(at(0), &LIMITS), Step::Read(0));
        let big = plan(28, 10_000.0);
        assert_eq!(big.next(at(0), &LIMITS), Step::Order(0));
        let parts = shown(&big);
        assert_eq!(parts[0], (23, 27, 0), "the newest first");
        assert_eq!(parts.last(), Some(&(0, 2, 0)));
        let days: i64 = parts.iter().map(|(from, to, _)| to - from + 1).sum();
        assert_eq!(days, 28, "every day once");
    }

    #[test]
    fn what_is_too_much_is_cut_by_days_and_then_by_campaigns() {
        let mut pass = plan(3, 0.0);
        let of = campaigns(3);
        assert_eq!(pass.too_much(0, &of, "m"), Outcome::GoesOn);
        assert_eq!(shown(&pass), [(1, 2, 0), (0, 0, 0)]);
        pass.too_much(0, &of, "m");
        pass.too_much(0, &of, "m");
        let parts = [(2, 2, 1), (2, 2, 2), (1, 1, 0), (0, 0, 0)];
        assert_eq!(shown(&pass), parts);
        let Outcome::GivenUp(why) = pass.too_much(0, &of, "code 1") else {
            panic!("one campaign's day cannot be cut");
        };
        assert!(
            why.contains("2026-11-03") && why.ends_with("code 1"),
            "{why}"
        );
        assert_eq!(shown(&pass), parts[1..]);
    }

    #[test]
    fn reports_are_asked_after_ever_less_and_no_more_are_ordered_than_may_be() {
        let mut pass = plan(28, 10_000.0);
        assert_eq!(pass.next(at(0), &LIMITS), Step::Order(0));
        pass.ordered(0, "r0".to_owned(), at(0));
        assert_eq!(pass.next(at(1), &LIMITS), Step::Order(1));
        pass.ordered(1, "r1".to_owned(), at(1));
        assert_eq!(pass.next(at(2), &LIMITS), Step::Rest(at(10)));
        let mut looks = Vec::new();
        let mut now = at(2);
        while time::between(at(0), now) < time::minutes(20) {
            match pass.next(now, &LIMITS) {
                Step::Rest(until) => now = until,
                Step::Ask(0) => {
                    looks.push(time::between(at(0), now).as_secs());
                    pass.told(0, &ReportState::Running, now, &LIMITS, &[]);
                }
                Step::Ask(1) => {
                    pass.told(1, &ReportState::Running, now, &LIMITS, &[]);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(looks, [10, 20, 40, 80, 160, 320, 620, 920]);
        assert_eq!(
            pass.told(1, &ReportState::Ready, now, &LIMITS, &[]),
            Outcome::Ready
        );
        assert_eq!(pass.pulled_at(1, now), at(1), "as of its order");
        pass.done(1);
        assert_eq!(pass.next(now, &LIMITS), Step::Ask(0), "what is due first");
        pass.told(0, &ReportState::Running, now, &LIMITS, &[]);
        assert_eq!(pass.next(now, &LIMITS), Step::Order(1));
    }

    #[test]
    fn a_report_that_comes_to_nothing_is_ordered_again_and_then_smaller() {
        for state in [ReportState::Skipped, failed(-2, 2_490_547)] {
            let mut pass = plan(2, 10_000.0);
            for n in 0..3 {
                pass.ordered(0, format!("r{n}"), at(n));
                let left = pass.left();
                assert_eq!(pass.told(0, &state, at(n), &LIMITS, &[]), Outcome::GoesOn);
                assert_eq!(pass.parts[0].order, None, "ordered again");
                assert_eq!(pass.left() > left, n == 2, "cut after three");
            }
        }
        // Too much is cut at once, and so is what is not ready by its deadline.
        for (state, seconds) in [(failed(100, 1_487_534), 20), (ReportState::Running, 3_600)] {
            let mut pass = plan(2, 10_000.0);
            pass.ordered(0, "r".to_owned(), at(0));
            pass.told(0, &state, at(seconds), &LIMITS, &[]);
            assert_eq!(pass.left(), 2, "{state:?}");
        }
    }

    #[test]
    fn a_fresh_report_may_be_missing_once() {
        let mut pass = plan(2, 10_000.0);
        pass.ordered(0, "r".to_owned(), at(0));
        pass.told(0, &ReportState::Missing, at(10), &LIMITS, &[]);
        assert!(pass.parts[0].order.is_some(), "it is asked after again");
        pass.told(0, &ReportState::Missing, at(20), &LIMITS, &[]);
        assert!(pass.parts[0].order.is_none(), "it is ordered again");
    }

    #[test]
    fn only_a_whole_report_is_ready() {
        let none = Envelope::default();
        let of = |status, percent| ReportState::of(status, percent, &none);
        assert_eq!(of("Job Completed", Some(100.0)), ReportState::Ready);
        assert_eq!(of("Job Completed", Some(99.0)), ReportState::Running);
        assert_eq!(of("Job Completed", None), ReportState::Running);
        for status in [
            "Job Not Started",
            "Job Started",
            "Job Running",
            "Job Dreams",
        ] {
            assert_eq!(of(status, Some(100.0)), ReportState::Running, "{status}");
        }
    }

    #[test]
    fn a_pass_goes_on_after_a_restart_while_it_is_fresh() {
        let mut pass = plan(28, 10_000.0);
        pass.ordered(1, "r1".to_owned(), at(1));
        let text = pass.to_text();
        assert_eq!(Pass::of_text(&text, at(60)), Some(pass));
        assert_eq!(Pass::of_text(&text, at(12 * 3_600)), None, "out of date");
        assert_eq!(Pass::of_text(&text, at(-1)), None, "of another clock");
        for bad in ["", "{}", "1790000000000000", &text.replace("2026", "20x6")] {
            assert_eq!(Pass::of_text(bad, at(60)), None, "{bad}");
        }
    }

    #[test]
    fn a_part_that_stays_silent_is_cut() {
        let mut pass = plan(4, 0.0);
        let cuts: Vec<bool> = (0..3).map(|_| pass.was_silent(0, &[])).collect();
        assert_eq!(cuts, [false, false, true]);
        assert_eq!(shown(&pass), [(2, 3, 0), (0, 1, 0)]);
    }

    #[test]
    fn the_size_is_learned() {
        let pass = plan(2, 0.0);
        let size = Size::default().read(&pass.parts[0], 20_000);
        assert!((size.rows_per_day - 10_000.0).abs() < 1e-6);
        let small = size.read(&pass.parts[0], 2);
        assert!((small.rows_per_day - 9_000.0).abs() < 1e-6, "slowly down");
        let mut size = size;
        for _ in 0..10 {
            size = size.too_much();
        }
        assert_eq!(size.at_once, LEAST_AT_ONCE);
    }
}
