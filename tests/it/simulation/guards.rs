//! What is asked after every step: the invariants, and each guard anew and plainly, from what Meta
//! carried out.

use std::collections::BTreeMap;

use roasd::domain::audit::{self, AuditEvent};
use roasd::domain::change::{ChangeKind, Origin, PendingChange, Target};
use roasd::domain::ids::{CampaignId, ChangeId};
use roasd::domain::invariants::{self, Sending};
use roasd::domain::structure::{EntityRef, RunStatus};
use roasd::domain::time::{self, SignedDuration, TimeZone, Timestamp};

use super::meta::Write;
use super::{Sim, gym};

/// A write of ours, and the change that it was for.
struct Sent<'a> {
    write: &'a Write,
    change: &'a PendingChange,
    /// It was set back by somebody before roasd could look, and so taken for one without effect.
    is_void: bool,
}

impl Sent<'_> {
    fn is_by_person(&self) -> bool {
        matches!(self.change.proposed.origin, Origin::Undo(_))
    }

    fn campaign(&self) -> &CampaignId {
        &self.change.proposed.campaign
    }
}

pub(super) async fn check(sim: &mut Sim) {
    let lines = sim.store.audit_lines(&gym(), 0, u32::MAX).await.unwrap();
    audit::verify(&lines).unwrap();
    let lines: Vec<_> = lines.into_iter().map(|line| line.entry).collect();
    let changes = sim.changes().await;
    let by_id: BTreeMap<&ChangeId, &PendingChange> =
        changes.iter().map(|c| (&c.proposed.id, c)).collect();
    invariants::one_change_is_open_per_object_and_kind(&changes).unwrap();
    invariants::settled_changes_are_closed_once(&changes, &lines).unwrap();
    let moves = sim
        .store
        .budget_moves(&gym(), Timestamp::MIN)
        .await
        .unwrap();
    if moves.is_sorted_by_key(|m| m.at) {
        invariants::budget_velocity_holds(&moves, &sim.settings.limits).unwrap();
    }

    // Each write has an intent of its own, in the order of both.
    let journal = sim.meta.journal();
    let intents: Vec<Sending> = lines
        .iter()
        .filter(|line| line.event == AuditEvent::Executing)
        .map(|line| Sending {
            change: line.change.clone().unwrap(),
            entity: line.entity.clone().unwrap(),
            target: line.after.unwrap(),
            at: line.at,
        })
        .collect();
    let mut next: BTreeMap<&EntityRef, usize> = BTreeMap::new();
    let mut sent: Vec<Sent<'_>> = Vec::new();
    for write in journal.iter().filter(|write| write.is_ours) {
        let from = next.entry(&write.entity).or_default();
        let found = intents.iter().enumerate().skip(*from).find(|(_, intent)| {
            intent.entity == write.entity && intent.target == write.after && intent.at == write.at
        });
        let (n, intent) = found.unwrap_or_else(|| panic!("a write without an intent: {write:?}"));
        *from = n + 1;
        let change = by_id[&intent.change];
        let of_it = lines
            .iter()
            .filter(|l| l.change.as_ref() == Some(&intent.change));
        let mut later = of_it.skip_while(|l| l.event != AuditEvent::Executing || l.at != intent.at);
        let next = later.nth(1);
        let is_void =
            next.is_some_and(|l| matches!(l.event, AuditEvent::Deferred | AuditEvent::Failed));
        if is_void {
            let after = journal
                .iter()
                .skip_while(|w| !std::ptr::eq(*w, write))
                .skip(1);
            let is_set_back = after
                .take_while(|w| !w.is_ours || w.entity != write.entity)
                .any(|w| w.entity == write.entity && w.after == write.before);
            assert!(
                is_set_back,
                "carried out and told as without effect: {write:?}"
            );
        }
        sent.push(Sent {
            write,
            change,
            is_void,
        });
    }
    for (n, one) in sent.iter().enumerate() {
        guards(sim, &sent[..n], one);
        let frozen = sim.frozen.iter().find(|(entity, ours, until)| {
            *entity == one.write.entity && *ours <= n && *until > one.write.at
        });
        assert!(
            frozen.is_none() || one.is_by_person(),
            "a person's edit: {:?}",
            one.write
        );
    }
    // None is doubled, and what is told as done was done.
    let mut times: BTreeMap<&ChangeId, Vec<&Write>> = BTreeMap::new();
    for one in &sent {
        times
            .entry(&one.change.proposed.id)
            .or_default()
            .push(one.write);
        assert_ne!(
            one.write.before, one.write.after,
            "set twice: {:?}",
            one.write
        );
    }
    for (id, writes) in &times {
        for pair in writes.windows(2) {
            // Carried out and set back by somebody before roasd could look: nobody can tell that
            // from a call without effect.
            let between = journal.iter().skip_while(|w| !std::ptr::eq(*w, pair[0]));
            let mut between = between.take_while(|w| !std::ptr::eq(*w, pair[1]));
            let is_set_back = between.any(|w| !w.is_ours && w.entity == pair[0].entity);
            assert!(is_set_back, "{id} was sent twice: {writes:?}");
        }
    }
    for line in lines
        .iter()
        .filter(|line| line.event == AuditEvent::Completed)
    {
        let id = line.change.as_ref().unwrap();
        let was_sent = line.before != line.after;
        // Somebody set just that value before roasd could look whether its call had had an effect:
        // from outside that is the same.
        let intent = intents.iter().rfind(|intent| intent.change == *id);
        let was_somebody = journal.iter().any(|write| {
            let is_between = intent.is_some_and(|i| i.at <= write.at) && write.at <= line.at;
            !write.is_ours
                && is_between
                && line.entity.as_ref() == Some(&write.entity)
                && line.after == Some(write.after)
        });
        assert!(
            !was_sent || times.contains_key(id) || was_somebody,
            "{id} was told as done and was not"
        );
    }
}

/// How many of `earlier` a window that ends with `one` counts.
fn within<'a>(
    earlier: &[Sent<'a>],
    one: &Sent<'a>,
    window: SignedDuration,
    counts: impl Fn(&Sent<'a>) -> bool,
) -> u32 {
    let opens = time::sub(one.write.at, window);
    let found = earlier
        .iter()
        .filter(|e| e.write.at > opens && !e.is_void && counts(e));
    u32::try_from(found.count()).unwrap()
}

fn guards(sim: &Sim, earlier: &[Sent<'_>], one: &Sent<'_>) {
    let limits = &sim.settings.limits;
    let Sent { write, change, .. } = one;
    let told = || format!("{write:?} for {change:?}");
    assert!(!write.while_paused, "paused: {}", told());
    let paused = Target::Status(RunStatus::Paused);
    let day = time::hours(24);
    let of_campaign = within(earlier, one, time::hours(1), |e| {
        e.campaign() == one.campaign()
    });
    assert!(
        of_campaign < limits.actions_per_campaign_per_hour,
        "per hour: {}",
        told()
    );
    if write.after == paused {
        let kills = within(earlier, one, day, |e| e.write.after == paused);
        assert!(kills < limits.kills_per_day, "kills: {}", told());
        assert!(
            !write.was_synced || write.live_ads > 0,
            "the last ad: {}",
            told()
        );
    } else {
        let all = within(earlier, one, day, |e| e.write.after != paused);
        assert!(all < limits.changes_per_day, "per day: {}", told());
    }
    if let (Target::DailyBudget(from), Target::DailyBudget(to)) = (write.before, write.after) {
        let of_it = within(earlier, one, day, |e| {
            e.write.entity == write.entity && e.write.after.kind() == ChangeKind::Budget
        });
        assert!(
            of_it < limits.changes_per_ad_set_per_day,
            "of an ad set: {}",
            told()
        );
        let (from, to) = (from.minor() as f64, to.minor() as f64);
        let most = 1.0 + limits.max_change.fraction();
        assert!(
            to <= from * most + 1.0 && to >= from / most - from * 0.04,
            "far: {}",
            told()
        );
        assert!(
            to >= limits.min_per_ad_set.minor() as f64,
            "the floor: {}",
            told()
        );
        if to < from {
            assert!(
                to >= write.spent.minor() as f64 * 1.1 - 1.0,
                "spent: {}",
                told()
            );
        } else if write.was_synced {
            assert!(
                write.total <= limits.daily_cap.minor(),
                "the cap: {}",
                told()
            );
        }
    }
    if write.after == Target::Status(RunStatus::Active) && write.was_synced {
        // Resumed under the cap, or where a budget counted already.
        let grew = write.live_ads == 1;
        assert!(
            !grew || write.total <= limits.daily_cap.minor(),
            "the cap: {}",
            told()
        );
    }
    let raises = matches!((write.before, write.after), (Target::DailyBudget(a), Target::DailyBudget(b)) if b.minor() > a.minor());
    assert!(
        !raises || !limits.ask_before_raise || write.was_rehearsed,
        "Meta was not asked: {}",
        told()
    );
    if one.is_by_person() {
        return;
    }
    let blackouts = &limits.calendar.blackouts;
    let is_dark = blackouts
        .iter()
        .any(|b| b.ends(write.at, &TimeZone::UTC).is_some());
    assert!(!is_dark, "a blackout: {}", told());
    if change.proposed.needs_approval {
        return;
    }
    let level = sim.settings.autonomy.raise;
    let is_free = level == roasd::domain::autonomy::Autonomy::Auto;
    assert!(!raises || is_free, "nobody approved: {}", told());
}
