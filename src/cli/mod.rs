//! The commands, one file each, and what they share.

pub mod advise;
pub mod check;
pub mod demo;
pub mod run;
pub mod sandbox;
pub mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Validate the configuration and show what it means.
    Check(check::CheckArgs),
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
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
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
        Command::Check(args) => {
            let environment = crate::config::Environment::of_process();
            check::run(&args, file.as_deref(), &environment, &mut out, &mut std::io::stderr())?
        }
        Command::Advise(args) => advise::run(&args, &mut out, &mut std::io::stderr())?,
    };
    out.flush()?;
    Ok(exit)
}

/// Tells a person what is wrong, on standard error.
pub fn complain(text: &str) {
    // With nobody to read it there is nothing left to do.
    let _ = writeln!(std::io::stderr(), "{text}");
}
