//! `roasd replay`: what another policy would have decided, run by run, from what was known then.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::context::{CliContext, Out, clean, print_json, utc};
use super::table::TextTable;
use super::{Exit, complain};
use crate::domain::ids::TenantId;
use crate::domain::policy::{self, Action};
use crate::domain::time::{self, Date, TimeZone, Timestamp};
use crate::store::decisions::inputs_from_json;

/// What can and cannot be known this way.
const LIMITS: &str = "Each run was decided anew from its own recorded inputs, so what the other policy would have seen\n\
    after its own earlier decisions is not known: read the first time that it asks for something, not\n\
    the sum of what it asks for. What it would have earned cannot be told from this; \"roasd evaluate\n\
    policies\" lets policies run whole markets.";

/// What `replay` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayArgs {
    /// Whose runs.
    #[arg(long)]
    pub tenant: TenantId,
    /// The policy: roasd, blended-v1, left-alone, rules or beta-thompson.
    #[arg(long)]
    pub policy: String,
    /// First day (UTC), as 2026-11-30; else all that is kept.
    #[arg(long, value_name = "DAY", value_parser = time::parse_date)]
    pub from: Option<Date>,
    /// Last day (UTC), included; else today.
    #[arg(long, value_name = "DAY", value_parser = time::parse_date)]
    pub to: Option<Date>,
}

/// What was first asked for one object in one direction.
#[derive(Debug, Default)]
struct First {
    name: String,
    recorded: Option<Timestamp>,
    replayed: Option<Timestamp>,
    recorded_times: u32,
    replayed_times: u32,
    wish: String,
}

/// Runs the command.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &ReplayArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    if let Err(unknown) = ctx.chosen(Some(&args.tenant)).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let Some(policy) = policy::named(&args.policy) else {
        complain(&format!("there is no policy {:?}", args.policy));
        return Ok(Exit::Usage);
    };
    let starts = |day| time::day_start(day, &TimeZone::UTC);
    let mut after = args.from.map_or(Timestamp::MIN, |day| {
        time::sub(starts(day), time::millis(1))
    });
    let until = args
        .to
        .map_or_else(|| ctx.now(), |day| starts(time::add_days(day, 1)));
    let (mut runs, mut forgotten, mut equal) = (0_u32, 0_u32, 0_u32);
    let mut firsts: BTreeMap<(String, &'static str), First> = BTreeMap::new();
    while let Some(run) = ctx.store.run_after(&args.tenant, after, until).await? {
        after = run.at;
        let Ok(inputs) = inputs_from_json(&run.inputs_json) else {
            forgotten += 1;
            continue;
        };
        runs += 1;
        let recorded = ctx.store.decisions_of(&args.tenant, &run.id).await?;
        let mut before: Vec<(String, String)> = Vec::new();
        for decision in recorded.iter().filter(|d| d.action != "hold") {
            let Some(action) = ACTIONS
                .iter()
                .find(|a| a.as_str().eq_ignore_ascii_case(&decision.action))
            else {
                continue;
            };
            let object = decision.entity.to_string();
            before.push((object.clone(), decision.to.clone()));
            let first = firsts.entry((object, action.as_str())).or_default();
            first.name.clone_from(&decision.entity_name);
            first.recorded.get_or_insert(run.at);
            first.recorded_times += 1;
        }
        let mut now: Vec<(String, String)> = Vec::new();
        for decision in policy.decide(&inputs).changes() {
            let (_, to) = decision.change.told();
            let object = decision.subject.to_string();
            now.push((object.clone(), to.clone()));
            let first = firsts
                .entry((object, decision.action.as_str()))
                .or_default();
            first.name.clone_from(&decision.rationale.name);
            if first.replayed.is_none() {
                first.replayed = Some(run.at);
                first.wish = to;
            }
            first.replayed_times += 1;
        }
        before.sort();
        now.sort();
        equal += u32::from(before == now);
    }
    if ctx.json {
        let changes: Vec<Value> = firsts.iter().map(|(key, first)| line(key, first)).collect();
        print_json(
            out,
            &json!({
                "tenant": args.tenant.as_str(),
                "policy": policy.name(),
                "policy_version": policy.version(),
                "runs": runs,
                "runs_without_inputs": forgotten,
                "runs_decided_equally": equal,
                "limits": LIMITS,
                "changes": changes,
            }),
        )?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    writeln!(
        text,
        "{runs} runs of {} through {} version {}: {equal} decided as recorded{}.\n",
        args.tenant,
        policy.name(),
        policy.version(),
        if forgotten > 0 {
            format!("; the inputs of {forgotten} more are gone or of another version")
        } else {
            String::new()
        },
    )?;
    let heads = [
        "object", "action", "recorded", "times", "replayed", "times", "first to",
    ];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[3, 5]);
    let at = |time: Option<Timestamp>| time.map_or_else(|| "never".to_owned(), utc);
    for ((object, action), first) in &firsts {
        table.row([
            format!("{} ({object})", first.name),
            (*action).to_owned(),
            at(first.recorded),
            first.recorded_times.to_string(),
            at(first.replayed),
            first.replayed_times.to_string(),
            first.wish.clone(),
        ]);
    }
    writeln!(text, "{}\n\n{LIMITS}", table.render())?;
    out.write_all(clean(&text).as_bytes())?;
    Ok(Exit::Done)
}

const ACTIONS: [Action; 6] = [
    Action::Raise,
    Action::Cut,
    Action::Hold,
    Action::Kill,
    Action::Rotate,
    Action::Return,
];

fn line((object, action): &(String, &'static str), first: &First) -> Value {
    let at = |time: Option<Timestamp>| time.map(|at| at.to_string());
    json!({
        "object": object,
        "name": first.name,
        "action": action,
        "first_recorded_at": at(first.recorded),
        "times_recorded": first.recorded_times,
        "first_replayed_at": at(first.replayed),
        "times_replayed": first.replayed_times,
        "first_replayed_value": first.wish,
    })
}
