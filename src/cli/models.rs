//! `roasd models`: who decides, who decides beside it, and what speaks for a change.

mod beside;
mod change;
mod show;

use clap::Subcommand;

use super::context::{CliContext, Out};
use super::{Exit, complain};
use crate::domain::ids::TenantId;
use crate::domain::model::{BUDGETS, Candidate, Role, VersionName};
use crate::store::models::ModelVersion;

/// What can be done with versions.
#[derive(Debug, Clone, Subcommand)]
pub enum ModelsCommand {
    /// List the versions: who decides, who decides beside it, and what they showed.
    List,
    /// Show one version with its history, and what it decided beside the champion.
    Show {
        /// The version.
        version: String,
    },
    /// Enter a version of your own, as a challenger: it decides beside the champion, nothing is sent.
    ///
    /// Example:  roasd models add wide --set kappa_mult=3 --set p_rotate=0.8
    Add {
        /// What to call it; the number of the policy's code is added.
        label: String,
        /// The policy: roasd or blended-v1.
        #[arg(long, default_value = "roasd")]
        policy: String,
        /// A constant that differs from the tenants' configuration; may be given again.
        #[arg(long = "set", value_name = "NAME=VALUE", value_parser = change::pair)]
        constants: Vec<(String, f64)>,
    },
    /// Let a resting version decide beside the champion.
    Challenge {
        /// The version.
        version: String,
    },
    /// Let a challenger rest.
    Rest {
        /// The version.
        version: String,
    },
    /// Let a version and the champion play simulated markets, and keep how it went.
    Evaluate {
        /// The version.
        version: String,
        /// Markets of each kind of business.
        #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(2..=100_000))]
        markets: u64,
    },
    /// Hold a version's forecasts against another's, and both against what came.
    ///
    /// Example:  roasd models compare wide-1 --tenant acme
    Compare {
        /// The version.
        version: String,
        /// The other one; else the champion.
        other: Option<String>,
        /// On this tenant only.
        #[arg(long)]
        tenant: Option<TenantId>,
        /// So many days back.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=730))]
        days: u32,
    },
    /// Make a version the champion, where what it showed is enough.
    Promote {
        /// The version.
        version: String,
        /// Why, for the history.
        #[arg(long)]
        reason: String,
        /// Do it whatever is missing; the history keeps what was.
        #[arg(long)]
        despite: bool,
    },
    /// Make the champion of before champion again.
    Rollback {
        /// Why, for the history.
        #[arg(long)]
        reason: String,
    },
}

/// Runs the command.
///
/// # Errors
/// When the database does not answer or the output cannot be written.
pub async fn run(command: &ModelsCommand, ctx: &CliContext, out: Out<'_>) -> anyhow::Result<Exit> {
    let known = ctx.store.models().await?;
    let known: Vec<ModelVersion> = known.into_iter().filter(|v| v.model == BUDGETS).collect();
    match command {
        ModelsCommand::List => show::list(&known, ctx, out),
        ModelsCommand::Show { version } => match find(&known, version) {
            Some(version) => show::one(version, ctx, out).await,
            None => Ok(Exit::Usage),
        },
        ModelsCommand::Add {
            label,
            policy,
            constants,
        } => change::add(&known, label, policy, constants, ctx, out).await,
        ModelsCommand::Challenge { version } => {
            change::role(&known, version, Role::Challenger, ctx, out).await
        }
        ModelsCommand::Rest { version } => {
            change::role(&known, version, Role::Resting, ctx, out).await
        }
        ModelsCommand::Evaluate { version, markets } => match pair(&known, version, None) {
            Some((tried, first)) => beside::evaluate(tried, first, *markets, ctx, out).await,
            None => Ok(Exit::Usage),
        },
        ModelsCommand::Compare {
            version,
            other,
            tenant,
            days,
        } => match pair(&known, version, other.as_deref()) {
            Some((tried, first)) => {
                beside::compare(tried, first, tenant.as_ref(), *days, ctx, out).await
            }
            None => Ok(Exit::Usage),
        },
        ModelsCommand::Promote {
            version,
            reason,
            despite,
        } => change::promote(&known, version, reason, *despite, ctx, out).await,
        ModelsCommand::Rollback { reason } => change::rollback(&known, reason, ctx, out).await,
    }
}

/// The version of this name; one that is not there is complained of.
fn find<'v>(known: &'v [ModelVersion], name: &str) -> Option<&'v ModelVersion> {
    let found = known.iter().find(|v| v.version.as_str() == name);
    if found.is_none() {
        let names: Vec<&str> = known.iter().map(|v| v.version.as_str()).collect();
        complain(&match names.as_slice() {
            [] => "there are no versions yet: the daemon enters its own when it starts".to_owned(),
            _ => format!(
                "there is no version {name}; there are: {}",
                names.join(", ")
            ),
        });
    }
    found
}

fn champion(known: &[ModelVersion]) -> Option<&ModelVersion> {
    known.iter().find(|v| v.role == Role::Champion)
}

/// What a version is, where this program has its code; else that is complained of.
fn candidate(version: &ModelVersion) -> Option<Candidate> {
    let name = &version.version;
    let Some(found) = Candidate::of(&version.policy, version.constants) else {
        complain(&format!(
            "this roasd has no policy {:?}, which {name} is made of",
            version.policy
        ));
        return None;
    };
    if found.policy.version() != version.policy_version {
        complain(&format!(
            "{name} is made of version {} of {}, and this roasd has version {}; enter its constants \
             anew with `roasd models add`",
            version.policy_version,
            version.policy,
            found.policy.version()
        ));
        return None;
    }
    Some(found)
}

/// A version by name, and what it is.
type Named<'v> = (&'v VersionName, Candidate);

/// The version and the one to hold it against; what is wrong is complained of.
fn pair<'v>(
    known: &'v [ModelVersion],
    version: &str,
    other: Option<&str>,
) -> Option<(Named<'v>, Named<'v>)> {
    let tried = find(known, version)?;
    let first = match other {
        Some(name) => find(known, name)?,
        None => champion(known)?,
    };
    if tried.version == first.version {
        complain(&format!("{version} is to be held against another version"));
        return None;
    }
    let of = |version: &'v ModelVersion| Some((&version.version, candidate(version)?));
    Some((of(tried)?, of(first)?))
}
