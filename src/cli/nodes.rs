//! `roasd nodes`: the nodes that share the store, and which of them works for which tenant.

use std::collections::BTreeMap;

use serde_json::json;

use super::Exit;
use super::context::{CliContext, Out, clean, print_json, when};
use super::table::TextTable;
use crate::domain::ids::NodeId;
use crate::domain::time::SignedDuration;
use crate::store::nodes::{Lease, SeenNode};

/// What `nodes` takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NodesArgs {
    /// Also list every tenant with its lease.
    #[arg(long)]
    pub leases: bool,
}

/// Shows nodes and leases.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(args: &NodesArgs, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let now = ctx.now();
    let nodes = ctx.store.nodes(now).await?;
    let leases = ctx.store.leases(now).await?;
    let ttl = ctx.config.daemon.lease;
    if ctx.json {
        print_json(out, &to_json(&nodes, &leases, ttl))?;
        return Ok(Exit::Done);
    }
    if nodes.is_empty() && leases.is_empty() {
        writeln!(
            out,
            "No node has been here. A SQLite database serves one daemon, which works for every tenant; \
             several share one PostgreSQL (daemon.database_url)."
        )?;
        return Ok(Exit::Done);
    }
    let held = held_by(&leases);
    let heads = ["node", "host", "version", "since", "state", "tenants"];
    let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[5]);
    for seen in &nodes {
        table.row([
            seen.node.id.to_string(),
            clean(&seen.node.host),
            clean(&seen.node.version),
            when(seen.started_at, now),
            state(seen, ttl),
            held.get(&seen.node.id).copied().unwrap_or(0).to_string(),
        ]);
    }
    writeln!(out, "{}", table.render())?;
    let free = leases
        .iter()
        .filter(|lease| !lease.left.is_positive())
        .count();
    if free > 0 {
        writeln!(out, "{free} tenants are held by nobody just now")?;
    }
    if args.leases {
        let heads = ["tenant", "node", "token", "left"];
        let mut table = TextTable::new(&heads, ctx.is_terminal).right(&[2, 3]);
        for lease in &leases {
            let (node, left) = if lease.left.is_positive() {
                (lease.fence.node.to_string(), seconds(lease.left))
            } else {
                ("nobody".to_owned(), "-".to_owned())
            };
            let token = lease.fence.token.to_string();
            table.row([lease.fence.tenant.to_string(), node, token, left]);
        }
        writeln!(out, "\n{}", table.render())?;
    }
    Ok(Exit::Done)
}

fn held_by(leases: &[Lease]) -> BTreeMap<&NodeId, usize> {
    let mut held = BTreeMap::new();
    for lease in leases.iter().filter(|lease| lease.left.is_positive()) {
        *held.entry(&lease.fence.node).or_default() += 1;
    }
    held
}

fn state(seen: &SeenNode, ttl: SignedDuration) -> String {
    if seen.silent_for < ttl {
        "alive".to_owned()
    } else {
        format!("silent for {}", seconds(seen.silent_for))
    }
}

fn seconds(span: SignedDuration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

fn to_json(nodes: &[SeenNode], leases: &[Lease], ttl: SignedDuration) -> serde_json::Value {
    let held = held_by(leases);
    let nodes: Vec<_> = nodes
        .iter()
        .map(|seen| {
            json!({
                "id": seen.node.id.as_str(),
                "host": seen.node.host,
                "version": seen.node.version,
                "started_at": seen.started_at.to_string(),
                "heartbeat_at": seen.heartbeat_at.to_string(),
                "is_alive": seen.silent_for < ttl,
                "tenants": held.get(&seen.node.id).copied().unwrap_or(0),
            })
        })
        .collect();
    let leases: Vec<_> = leases
        .iter()
        .map(|lease| {
            let is_held = lease.left.is_positive();
            json!({
                "tenant": lease.fence.tenant.as_str(),
                "node": is_held.then(|| lease.fence.node.as_str()),
                "token": lease.fence.token,
                "until": lease.until.to_string(),
            })
        })
        .collect();
    json!({ "nodes": nodes, "leases": leases })
}
