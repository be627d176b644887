//! The commands, one file each, and what they share.

pub mod advise;
pub mod alerts;
pub mod audit;
pub mod changes;
pub mod check;
pub mod context;
pub mod coverage;
pub mod demo;
pub mod doctor;
pub mod erase;
pub mod evaluate;
pub mod explain;
pub mod migrate;
pub mod models;
pub mod move_store;
pub mod nodes;
pub mod pause;
pub mod quarantine;
pub mod replay;
pub mod run;
pub mod sandbox;
pub mod stages;
pub mod status;
pub mod structure;
pub mod sync;
pub mod table;
pub mod token;
pub mod winners;

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub use context::CliContext;

use crate::config::Environment;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done: 0.
    Done,
    /// Tried and failed: 1.
    Failed,
    /// Usage or configuration: 2.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
        })
    }
}

/// roasd moves Meta ad budget toward the ads whose leads become revenue in the CRM.
///
/// To see it work, without any account:  roasd demo
#[derive(Debug, Parser)]
#[command(name = "roasd", version, disable_help_subcommand = true)]
struct Args {
    /// The configuration; else ./config.toml, then /etc/roasd/config.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON for programs instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    /// Open this database, a file or a postgres: address, and read no configuration: `roasd
    /// --database FILE pause` works while the configuration is broken.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "config")]
    database: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until it is told to stop (SIGTERM); SIGHUP reads the configuration anew.
    Run(run::RunArgs),
    /// Run the whole loop on this machine against simulated vendors; no account needed.
    Demo(demo::DemoArgs),
    /// Run the simulated vendors alone, for rehearsals.
    Sandbox(sandbox::SandboxArgs),
    /// Validate the configuration and show what it means; with --online, ask the vendors too.
    ///
    /// Example:  roasd check --online
    Check(check::CheckArgs),
    /// Show how each tenant stands and what to do next.
    ///
    /// Example:  roasd status acme
    Status(status::StatusArgs),
    /// Show which share of conversions is credited to an ad, by day and layer, beside Meta's counts,
    /// and why the others are not.
    ///
    /// Example:  roasd coverage acme --days 30
    Coverage(coverage::CoverageArgs),
    /// Say what is wrong with a tenant and its data, with numbers and the remedy, the most money first.
    ///
    /// Asks Meta and HubSpot too, unless --offline. Exit code 1 when something is wrong.
    ///
    /// Example:  roasd doctor acme
    Doctor(doctor::DoctorArgs),
    /// Show what deals in each stage have really been worth, and what contradicts the configuration.
    ///
    /// Example:  roasd stages acme
    Stages(stages::StagesArgs),
    /// Show who holds the budgets of an account, and what roasd leaves alone and why.
    ///
    /// Example:  roasd structure acme
    Structure(structure::StructureArgs),
    /// Show the nodes that share the store, and which of them works for which tenant.
    ///
    /// Example:  roasd nodes --leases
    Nodes(nodes::NodesArgs),
    /// Read both vendors now instead of at the next hour, and show what was read.
    ///
    /// Example:  roasd sync acme --full
    Sync(sync::SyncArgs),
    /// List, show, approve, reject and undo changes to ad accounts.
    ///
    /// Example:  roasd changes list
    Changes(changes::ChangesArgs),
    /// Explain a decision: why, from what numbers, and what became of it. Or a deal: which ad it is
    /// credited to, how sure, and who else it might have been.
    ///
    /// Example:  roasd explain 0199c4a1
    Explain(explain::ExplainArgs),
    /// Prove that the audit log is whole, or hand it out.
    ///
    /// Example:  roasd audit verify
    Audit(audit::AuditArgs),
    /// Look up what people were told, and try the channels.
    ///
    /// Example:  roasd alerts test
    Alerts(alerts::AlertsArgs),
    /// Stop all changes at once, of one tenant or of the whole daemon; survives restarts.
    ///
    /// Example:  roasd pause acme --reason "the landing page is down"
    Pause(pause::PauseArgs),
    /// End a pause, or the parking of a tenant whose actors failed too often.
    ///
    /// Example:  roasd resume acme
    Resume(pause::ResumeArgs),
    /// Look at deliveries that could not be read; try them again or drop them.
    ///
    /// Example:  roasd quarantine list
    Quarantine(quarantine::QuarantineArgs),
    /// Forget one person: hashes, click ids, leads, names; prints a receipt. What was earned stays.
    ///
    /// Example:  roasd erase --tenant acme --contact 60000000012
    Erase(erase::EraseArgs),
    /// Make, list and revoke tokens of the API.
    ///
    /// Example:  roasd token create --tenant acme --name "the website" --scope ingest
    Token(token::TokenArgs),
    /// Make the database, or bring it up to date.
    ///
    /// Example:  roasd --config /etc/roasd/config.toml migrate
    Migrate(migrate::MigrateArgs),
    /// Copy the SQLite database into an empty PostgreSQL and prove that nothing differs.
    ///
    /// Example:  roasd move --to postgres://roasd@db.example.com/roasd
    Move(move_store::MoveArgs),

    /// Ask what another policy would have decided from what was known then; changes nothing.
    ///
    /// Example:  roasd replay --tenant acme --policy blended-v1 --from 2026-11-01
    Replay(replay::ReplayArgs),
    /// Show and change who decides: the champion, and challengers that decide beside it.
    ///
    /// Example:  roasd models list
    #[command(subcommand)]
    Models(models::ModelsCommand),

    /// Past ads and what they teach: list, show, bring, leave out, find like ones, brief the maker of
    /// the next ad, judge what look-alikes are worth.
    ///
    /// Example:  roasd winners brief --text "Six weeks to a stronger back"
    Winners(winners::WinnersArgs),

    /// Hold roasd's judgement against known truth, beside other rules, on made-up data.
    ///
    /// Example:  roasd evaluate attribution
    Evaluate(evaluate::EvaluateArgs),
    /// Say what to do with an exported account, offline: files in, advice out.
    Advise(advise::AdviseArgs),
}

/// Parses the arguments, runs the command and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    // A bad command line ends here, with 2.
    let args = Args::parse();
    // All TLS of the process goes through one provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("roasd: the system gives no threads: {error}"));
            return Exit::Failed.into();
        }
    };
    match runtime.block_on(dispatch(args)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            complain(&format!("roasd: {error:#}"));
            Exit::Failed.into()
        }
    }
}

async fn dispatch(args: Args) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout();
    let file = args.config;
    let exit = match args.command {
        Command::Run(_) => run::run(file).await?,
        Command::Demo(args) => demo::run(&args, &mut out).await?,
        Command::Sandbox(args) => sandbox::run(&args, &mut out).await?,
        Command::Check(mut check) => {
            check.json |= args.json;
            let environment = Environment::of_process();
            check::run(
                &check,
                file.as_deref(),
                &environment,
                &mut out,
                &mut std::io::stderr(),
            )
            .await?
        }
        Command::Evaluate(evaluation) => evaluate::run(&evaluation, args.json, &mut out)?,
        Command::Advise(args) => advise::run(&args, &mut out, &mut std::io::stderr())?,
        command => {
            let environment = Environment::of_process();
            let database = args.database.as_deref();
            let config = match context::load_config(file.as_deref(), database, &environment) {
                Ok(config) => config,
                Err(faults) => {
                    complain(&faults.to_string());
                    if matches!(command, Command::Pause(_)) {
                        complain("to pause all the same: roasd --database FILE pause");
                    }
                    return Ok(Exit::Usage);
                }
            };
            over_the_store(command, config, args.json, &mut out).await?
        }
    };
    out.flush()?;
    Ok(exit)
}

/// Runs a command that looks into the daemon's database.
async fn over_the_store(
    command: Command,
    config: crate::config::Config,
    json: bool,
    out: &mut std::io::Stdout,
) -> anyhow::Result<Exit> {
    if let Command::Migrate(args) = &command {
        return migrate::run(args, &config, json, out).await;
    }
    if let Command::Move(args) = &command {
        let environment = Environment::of_process();
        let is_terminal = out.is_terminal();
        return move_store::run(args, &config, &environment, json, is_terminal, out).await;
    }
    let ctx = CliContext::open(config, json, out.is_terminal()).await?;
    let done = match command {
        Command::Status(args) => status::run(&args, &ctx, out).await,
        Command::Coverage(args) => coverage::run(&args, &ctx, out).await,
        Command::Doctor(args) => doctor::run(&args, &ctx, out).await,
        Command::Stages(args) => stages::run(&args, &ctx, out).await,
        Command::Structure(args) => structure::run(&args, &ctx, out).await,
        Command::Nodes(args) => nodes::run(&args, &ctx, out).await,
        Command::Sync(args) => sync::run(&args, &ctx, out).await,
        Command::Changes(args) => changes::run(&args, &ctx, out).await,
        Command::Explain(args) => explain::run(&args, &ctx, out).await,
        Command::Audit(args) => audit::run(&args, &ctx, out).await,
        Command::Pause(args) => pause::pause(&args, &ctx, out).await,
        Command::Resume(args) => pause::resume(&args, &ctx, out).await,
        Command::Alerts(args) => alerts::run(&args, &ctx, out).await,
        Command::Quarantine(args) => quarantine::run(&args, &ctx, out).await,
        Command::Erase(args) => erase::run(&args, &ctx, out).await,
        Command::Token(args) => token::run(&args, &ctx, out).await,
        Command::Replay(args) => replay::run(&args, &ctx, out).await,
        Command::Models(command) => models::run(&command, &ctx, out).await,
        Command::Winners(args) => winners::run(&args, &ctx, out).await,
        // These do not look into the database, and have been run above.
        Command::Run(_)
        | Command::Demo(_)
        | Command::Advise(_)
        | Command::Evaluate(_)
        | Command::Sandbox(_)
        | Command::Check(_)
        | Command::Migrate(_)
        | Command::Move(_) => Ok(Exit::Done),
    };
    ctx.store.close().await;
    done
}

/// Tells a person what is wrong, on standard error.
pub fn complain(text: &str) {
    // With nobody to read it there is nothing left to do.
    let _ = writeln!(std::io::stderr(), "{text}");
}
