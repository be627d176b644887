//! `roasd changes`: what waits, what was done, and a person's yes, no and undo.

use clap::Subcommand;
use serde_json::json;

use super::context::{
    CliContext, Out, actor, ago, change_json, clean, print_json, target_json, when,
};
use super::table::TextTable;
use super::{Exit, complain};
use crate::domain::audit::ChainedEntry;
use crate::domain::change::{ChangeState, Origin, PendingChange, ProposedChange};
use crate::domain::ids::TenantId;
use crate::domain::naming::Naming;
use crate::domain::safety::Rule;
use crate::domain::time::Timestamp;
use crate::domain::undo::back_to;
use crate::store::changes::{ChangeFilter, Proposal, propose_undo};

/// What `changes` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct ChangesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ChangesCommand,
}

/// What can be done with changes.
#[derive(Debug, Clone, Subcommand)]
pub enum ChangesCommand {
    /// List changes: the open ones, or those asked for.
    ///
    /// Example:  roasd changes list --tenant acme --state awaiting_approval
    List(ListArgs),
    /// Show one change with all that happened to it.
    ///
    /// Example:  roasd changes show 0199c4a1
    Show {
        /// The change's id, or its beginning.
        id: String,
    },
    /// Let waiting changes be sent. Each is judged by the guards once more before it is.
    ///
    /// Example:  roasd changes approve 0199c4a1 0199c4b7
    Approve(ChoiceArgs),
    /// Turn changes down for good.
    ///
    /// Example:  roasd changes reject 0199c4a1 --reason "the offer ends on Friday"
    Reject {
        /// Which.
        #[command(flatten)]
        choice: ChoiceArgs,
        /// Why, for the audit log.
        #[arg(long, default_value = "turned down by a person")]
        reason: String,
    },
    /// Restore the value before a completed change, or every value that a tenant had at a time.
    ///
    /// Example:  roasd changes undo 0199c4a1
    ///           roasd changes undo --tenant acme --to 2026-11-24T08:00:00Z --check
    Undo(UndoArgs),
}

/// What to take back.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct UndoArgs {
    /// The change's id, or its beginning.
    #[arg(required_unless_present = "to", conflicts_with_all = ["to", "tenant", "check"])]
    pub id: Option<String>,
    /// The time to go back to: 2026-11-24T08:00:00Z, or 2026-11-24 for its midnight (UTC).
    #[arg(long, requires = "tenant", value_parser = super::context::parse_time)]
    pub to: Option<Timestamp>,
    /// The tenant of --to.
    #[arg(long, requires = "to")]
    pub tenant: Option<TenantId>,
    /// Only say what would be taken back and what cannot be.
    #[arg(long)]
    pub check: bool,
}

/// Which changes to list.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ListArgs {
    /// Of this tenant only.
    #[arg(long)]
    pub tenant: Option<TenantId>,
    /// In this state: awaiting_approval, pending, claimed, executing, completed, failed, cancelled,
    /// rejected, refused or expired. May be given more than once.
    #[arg(long, value_parser = parse_state)]
    pub state: Vec<ChangeState>,
    /// Also those that are closed.
    #[arg(long, conflicts_with = "state")]
    pub all: bool,
    /// This many at most, newest first.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// Some changes by id, or all that wait of one tenant.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ChoiceArgs {
    /// Ids of changes, or their beginnings.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// Every change of the tenant that waits for approval.
    #[arg(long, requires = "tenant")]
    pub all: bool,
    /// The tenant of --all.
    #[arg(long, requires = "all")]
    pub tenant: Option<TenantId>,
}

fn parse_state(name: &str) -> Result<ChangeState, String> {
    ChangeState::parse(name).ok_or_else(|| {
        let names: Vec<&str> = ChangeState::ALL.iter().map(|s| s.as_str()).collect();
        format!("the states are {}", names.join(", "))
    })
}

/// Runs the command.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &ChangesArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    match &args.command {
        ChangesCommand::List(args) => list(args, ctx, out).await,
        ChangesCommand::Show { id } => show(id, ctx, out).await,
        ChangesCommand::Approve(choice) => decide(choice, None, ctx, out).await,
        ChangesCommand::Reject { choice, reason } => {
            decide(choice, Some(reason.as_str()), ctx, out).await
        }
        ChangesCommand::Undo(UndoArgs {
            to: Some(to),
            tenant: Some(tenant),
            check,
            ..
        }) => undo_to(tenant, *to, *check, ctx, out).await,
        ChangesCommand::Undo(args) => {
            let id = args.id.as_deref().unwrap_or_default();
            undo(id, ctx, out).await
        }
    }
}

async fn list(args: &ListArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    if let Err(unknown) = ctx.chosen(args.tenant.as_ref()).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let states = if args.all {
        Vec::new()
    } else if args.state.is_empty() {
        let open = |state: &ChangeState| state.is_open();
        ChangeState::ALL.into_iter().filter(open).collect()
    } else {
        args.state.clone()
    };
    let filter = ChangeFilter {
        tenant: args.tenant.clone(),
        states,
        limit: args.limit,
    };
    let changes = ctx.store.changes(&filter).await?;
    if ctx.json {
        let changes: Vec<_> = changes.iter().map(change_json).collect();
        print_json(out, &json!({ "changes": changes }))?;
        return Ok(Exit::Done);
    }
    if changes.is_empty() {
        let closed = if args.all || !args.state.is_empty() {
            ""
        } else {
            "; --all shows the closed ones too"
        };
        writeln!(out, "no changes{closed}")?;
        return Ok(Exit::Done);
    }
    let heads = [
        "id", "tenant", "object", "from", "to", "state", "note", "age",
    ];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[3, 4]);
    let shortener = ctx.shortener().await?;
    let now = ctx.now();
    for change in &changes {
        let p = &change.proposed;
        table.row([
            shortener.short(p.id.as_str()).to_owned(),
            p.tenant.to_string(),
            format!("{} ({})", p.entity_name, p.entity),
            p.expected.to_string(),
            p.requested.to_string(),
            words(change.state).to_owned(),
            note(change),
            ago(p.proposed_at, now),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    let waiting = changes
        .iter()
        .filter(|c| c.state == ChangeState::AwaitingApproval)
        .count();
    if waiting > 0 {
        writeln!(
            out,
            "{waiting} {} for approval: roasd changes approve ID… | reject ID… | show ID",
            if waiting == 1 { "waits" } else { "wait" }
        )?;
    }
    if changes.len() >= args.limit as usize {
        writeln!(out, "only the newest {} are shown; see --limit", args.limit)?;
    }
    Ok(Exit::Done)
}

/// A state as a person says it.
pub(super) const fn words(state: ChangeState) -> &'static str {
    match state {
        ChangeState::AwaitingApproval => "awaits approval",
        ChangeState::Executing => "being sent",
        other => other.as_str(),
    }
}

fn note(change: &PendingChange) -> String {
    match (&change.rule, change.note.is_empty()) {
        (Some(rule), false) => format!("{rule}: {}", change.note),
        (Some(rule), true) => rule.clone(),
        (None, false) => change.note.clone(),
        (None, true) => change.proposed.reason.clone(),
    }
}

async fn show(id: &str, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let change = match ctx.find_change(id).await? {
        Ok(change) => change,
        Err(why) => {
            complain(&why);
            return Ok(Exit::Failed);
        }
    };
    let p = &change.proposed;
    let lines = ctx.store.audit_of_change(&p.tenant, &p.id).await?;
    let paragraph = match &p.origin {
        Origin::Decision(decision) => ctx
            .store
            .decision(decision.as_str())
            .await?
            .map(|(_, _, decision)| decision.paragraph),
        Origin::Undo(_) | Origin::Stop => None,
    };
    if ctx.json {
        let mut value = change_json(&change);
        if let Some(map) = value.as_object_mut() {
            map.insert("paragraph".to_owned(), json!(paragraph));
            let sentence = change.rule.as_deref().and_then(Rule::parse);
            map.insert("in_short".to_owned(), json!(sentence.map(Rule::sentence)));
            let lines: Vec<_> = lines.iter().map(line_json).collect();
            map.insert("audit".to_owned(), json!(lines));
        }
        print_json(out, &value)?;
        return Ok(Exit::Done);
    }
    let now = ctx.now();
    writeln!(out, "change {} of {}", p.id, p.tenant)?;
    writeln!(
        out,
        "{} ({}), in campaign {}",
        clean(&p.entity_name),
        p.entity,
        p.campaign
    )?;
    writeln!(
        out,
        "{} -> {}: {}",
        p.expected,
        p.requested,
        words(change.state)
    )?;
    if let Some(sent) = change.intent.filter(|sent| *sent != p.requested) {
        writeln!(out, "a guard clipped it: {sent} was sent")?;
    }
    let told = note(&change);
    if told != p.reason {
        writeln!(out, "last: {}", clean(&told))?;
    }
    if let Some(rule) = change.rule.as_deref().and_then(Rule::parse) {
        writeln!(out, "in short: {}", rule.sentence())?;
    }
    match change.state {
        ChangeState::AwaitingApproval => {
            writeln!(out, "lapses unless approved: {}", when(p.expires_at, now))?;
        }
        ChangeState::Pending => {
            writeln!(out, "not before: {}", when(p.earliest_at, now))?;
        }
        _ => {}
    }
    writeln!(out, "\nwhy:")?;
    writeln!(out, "{}", clean(paragraph.as_deref().unwrap_or(&p.reason)))?;
    writeln!(out, "\nwhat happened:")?;
    for line in &lines {
        writeln!(out, "{}", line_text(line, ctx))?;
    }
    writeln!(out)?;
    hints(&change, out)?;
    Ok(Exit::Done)
}

fn hints(change: &PendingChange, out: Out<'_>) -> std::io::Result<()> {
    let id = &change.proposed.id;
    match change.state {
        ChangeState::AwaitingApproval => writeln!(
            out,
            "to decide: roasd changes approve {id} | roasd changes reject {id}"
        )?,
        ChangeState::Pending | ChangeState::Claimed => {
            writeln!(out, "to stop it: roasd changes reject {id}")?;
        }
        ChangeState::Completed => writeln!(out, "to undo it: roasd changes undo {id}")?,
        ChangeState::Executing
        | ChangeState::Failed
        | ChangeState::Cancelled
        | ChangeState::Rejected
        | ChangeState::Refused
        | ChangeState::Expired => {}
    }
    if let Origin::Decision(decision) = &change.proposed.origin {
        writeln!(out, "every number behind it: roasd explain {decision}")?;
    }
    Ok(())
}

/// One audit line for a person.
pub(super) fn line_text(line: &ChainedEntry, ctx: &CliContext) -> String {
    let entry = &line.entry;
    let mut text = format!(
        "{}  {} by {}",
        when(entry.at, ctx.now()),
        entry.event.as_str().replace('_', " "),
        entry.actor
    );
    match (entry.before, entry.after) {
        (Some(before), Some(after)) => text.push_str(&format!(", {before} -> {after}")),
        (None, Some(value)) | (Some(value), None) => text.push_str(&format!(", {value}")),
        (None, None) => {}
    }
    if let Some(rule) = &entry.rule {
        text.push_str(&format!(" [{rule}]"));
    }
    if !entry.detail.is_empty() {
        text.push_str(&format!(": {}", entry.detail));
    }
    if let Some(request) = &entry.vendor_request {
        text.push_str(&format!(" (Meta's number of the call: {request})"));
    }
    clean(&text)
}

/// One audit line for programs.
pub(super) fn line_json(line: &ChainedEntry) -> serde_json::Value {
    let entry = &line.entry;
    json!({
        "sequence": line.sequence,
        "tenant": entry.tenant.as_str(),
        "at": entry.at.to_string(),
        "at_us": crate::domain::time::to_micros(entry.at),
        "event": entry.event.as_str(),
        "actor": entry.actor,
        "change": entry.change.as_ref().map(crate::domain::ids::ChangeId::as_str),
        "entity": entry.entity.as_ref().map(|e| json!({ "kind": e.kind().as_str(), "id": e.id() })),
        "campaign": entry.campaign.as_ref().map(crate::domain::ids::CampaignId::as_str),
        "before": entry.before.map(target_json),
        "after": entry.after.map(target_json),
        "rule": entry.rule,
        "detail": entry.detail,
        "vendor_request": entry.vendor_request,
        "previous_hash": line.previous_hash,
        "hash": line.hash,
    })
}

/// Approves, or with a reason rejects.
async fn decide(
    choice: &ChoiceArgs,
    reject: Option<&str>,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    let (mut chosen, mut problems) = (Vec::new(), Vec::new());
    if choice.all {
        if let Err(unknown) = ctx.chosen(choice.tenant.as_ref()).await? {
            complain(&unknown);
            return Ok(Exit::Usage);
        }
        let filter = ChangeFilter {
            tenant: choice.tenant.clone(),
            states: vec![ChangeState::AwaitingApproval],
            limit: u32::MAX,
        };
        chosen = ctx.store.changes(&filter).await?;
    } else {
        for id in &choice.ids {
            match ctx.find_change(id).await? {
                Ok(change) => chosen.push(change),
                Err(why) => problems.push(why),
            }
        }
    }
    let (actor, now) = (actor(), ctx.now());
    let mut done = Vec::new();
    for change in chosen {
        let id = &change.proposed.id;
        let moved = match reject {
            None => ctx.store.approve_change(id, &actor, now).await?,
            Some(reason) => ctx.store.reject_change(id, &actor, reason, now).await?,
        };
        match moved {
            Some(change) => {
                ctx.store.nudge(&change.proposed.tenant);
                done.push(change);
            }
            None => {
                let state = match ctx.store.change(id.as_str()).await? {
                    Some(change) => words(change.state),
                    None => "gone",
                };
                problems.push(match reject {
                    None => format!("change {id} does not wait for approval: it is {state}"),
                    Some(_) => format!("change {id} cannot be turned down any more: it is {state}"),
                });
            }
        }
    }
    if ctx.json {
        let changes: Vec<_> = done.iter().map(change_json).collect();
        print_json(out, &json!({ "changes": changes, "problems": problems }))?;
    } else {
        tell_decided(&done, reject.is_some(), ctx, out).await?;
        if done.is_empty() && problems.is_empty() {
            writeln!(out, "no change waits for approval")?;
        }
        for problem in &problems {
            complain(problem);
        }
    }
    Ok(if problems.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

async fn tell_decided(
    done: &[PendingChange],
    rejected: bool,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<()> {
    for change in done {
        let p = &change.proposed;
        let verb = if rejected { "rejected" } else { "approved" };
        writeln!(
            out,
            "{verb}: {} ({}) {} -> {}, change {}",
            clean(&p.entity_name),
            p.entity,
            p.expected,
            p.requested,
            p.id
        )?;
    }
    let Some(first) = done.first().filter(|_| !rejected) else {
        return Ok(());
    };
    writeln!(
        out,
        "each is due now; the guards judge it once more before it is sent"
    )?;
    let holds = ctx.store.holds(&first.proposed.tenant).await?;
    if holds.daemon_paused.is_some() {
        writeln!(
            out,
            "the daemon is paused: nothing is sent until `roasd resume`"
        )?;
    } else if holds.paused.is_some() {
        writeln!(
            out,
            "{0} is paused: nothing is sent until `roasd resume {0}`",
            first.proposed.tenant
        )?;
    }
    Ok(())
}

async fn undo(id: &str, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let change = match ctx.find_change(id).await? {
        Ok(change) => change,
        Err(why) => {
            complain(&why);
            return Ok(Exit::Failed);
        }
    };
    let now = ctx.now();
    let seed = u64::from(std::process::id());
    let undone = propose_undo(&*ctx.store, &change, &actor(), seed, now).await?;
    let (proposed, outcome) = match undone {
        Ok(undone) => undone,
        Err(why) => {
            complain(&why.to_string());
            return Ok(Exit::Failed);
        }
    };
    let (exit, told) = match &outcome {
        Proposal::Queued => (Exit::Done, "queued".to_owned()),
        Proposal::Superseded(old) => (
            Exit::Done,
            format!("queued; it takes the place of change {old}, which is cancelled"),
        ),
        Proposal::SameAsOpen(open) => (
            Exit::Done,
            format!("nothing to add: change {open} asks for the same already"),
        ),
        Proposal::Busy(busy) => (
            Exit::Failed,
            format!(
                "change {busy} of the same object is being sent just now; try again in a minute"
            ),
        ),
    };
    if ctx.json {
        let is_new = matches!(outcome, Proposal::Queued | Proposal::Superseded(_));
        print_json(
            out,
            &json!({
                "undoes": change.proposed.id.as_str(),
                "change": is_new.then(|| proposed.id.as_str()),
                "from": target_json(proposed.expected),
                "to": target_json(proposed.requested),
                "outcome": told,
            }),
        )?;
        return Ok(exit);
    }
    if exit == Exit::Failed {
        complain(&told);
        return Ok(exit);
    }
    writeln!(
        out,
        "undo of {} ({}): {} -> {}",
        clean(&proposed.entity_name),
        proposed.entity,
        proposed.expected,
        proposed.requested
    )?;
    writeln!(out, "{told}")?;
    writeln!(
        out,
        "It needs no approval and passes the same gate and guards as any change: a guard may hold \
         it back, and it is cancelled if the value is not {} any more.",
        proposed.expected
    )?;
    if matches!(outcome, Proposal::Queued | Proposal::Superseded(_)) {
        writeln!(out, "to follow it: roasd changes show {}", proposed.id)?;
    }
    Ok(exit)
}

/// Takes a tenant back to a time.
async fn undo_to(
    tenant: &TenantId,
    to: Timestamp,
    is_check: bool,
    ctx: &CliContext,
    out: Out<'_>,
) -> anyhow::Result<Exit> {
    if let Err(unknown) = ctx.chosen(Some(tenant)).await? {
        complain(&unknown);
        return Ok(Exit::Usage);
    }
    let now = ctx.now();
    let Some((structure, read_at)) = ctx.store.structure(tenant).await? else {
        complain(&format!(
            "the account of {tenant} was never read, so there is nothing to take back"
        ));
        return Ok(Exit::Failed);
    };
    let filter = ChangeFilter {
        tenant: Some(tenant.clone()),
        states: vec![ChangeState::Completed, ChangeState::Executing],
        limit: u32::MAX,
    };
    let changes = ctx.store.changes(&filter).await?;
    let mut counter = 0;
    let mut back = back_to(&changes, &structure, to, now, || {
        counter += 1;
        Naming {
            seed: u64::from(std::process::id()),
            tenant,
            at: now,
            counter,
        }
        .change()
    });
    for change in &mut back.changes {
        change.reason = format!("{}, asked for by {}", change.reason, actor());
    }
    let (mut queued, mut busy) = (Vec::new(), Vec::new());
    for change in &back.changes {
        if is_check {
            queued.push(change);
            continue;
        }
        match ctx.store.propose(change, now).await? {
            Proposal::Queued | Proposal::Superseded(_) | Proposal::SameAsOpen(_) => {
                queued.push(change);
            }
            Proposal::Busy(_) => busy.push(change),
        }
    }
    ctx.store.nudge(tenant);
    let exit = if busy.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    };
    if ctx.json {
        let change = |change: &&ProposedChange| {
            json!({
                "change": change.id.as_str(),
                "entity": { "kind": change.entity.kind().as_str(), "id": change.entity.id() },
                "from": target_json(change.expected),
                "to": target_json(change.requested),
            })
        };
        let cannot = back
            .cannot
            .iter()
            .map(|(change, why)| json!({ "change": change.proposed.id.as_str(), "why": why }));
        print_json(
            out,
            &json!({
                "tenant": tenant.as_str(),
                "to": to.to_string(),
                "is_check": is_check,
                "changes": queued.iter().map(change).collect::<Vec<_>>(),
                "busy": busy.iter().map(change).collect::<Vec<_>>(),
                "cannot": cannot.collect::<Vec<_>>(),
                "as_then": back.as_then,
            }),
        )?;
        return Ok(exit);
    }
    writeln!(
        out,
        "{tenant} back to {}, by the account as read {}:",
        when(to, now),
        ago(read_at, now)
    )?;
    let mut table = TextTable::new(&["object", "from", "to"], ctx.is_terminal).right(&[1, 2]);
    for change in &queued {
        table.row([
            format!("{} ({})", change.entity_name, change.entity),
            change.expected.to_string(),
            change.requested.to_string(),
        ]);
    }
    if queued.is_empty() {
        writeln!(out, "nothing to take back")?;
    } else {
        writeln!(out, "{}", table.render())?;
    }
    for change in &busy {
        complain(&format!(
            "{} ({}): a change of it is being sent just now; try again in a minute",
            clean(&change.entity_name),
            change.entity
        ));
    }
    for (change, why) in &back.cannot {
        let p = &change.proposed;
        writeln!(
            out,
            "cannot be taken back: {} ({}) {} -> {}, change {}: {}",
            clean(&p.entity_name),
            p.entity,
            p.expected,
            p.requested,
            p.id,
            clean(why)
        )?;
    }
    if is_check {
        writeln!(out, "nothing was queued (--check)")?;
    } else if !queued.is_empty() {
        writeln!(
            out,
            "Each passes the same gate and guards as any change: a budget goes back by the steps that \
             its owner allows, and a value that is not the one above any more stays."
        )?;
    }
    Ok(exit)
}
