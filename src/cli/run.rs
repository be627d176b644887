//! `roasd run`: the daemon, until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Environment, LogFormat as Format};
use crate::daemon::{self, Daemon};
use crate::store::Durability;
use crate::telemetry::{LogFormat, LogHandle, LogOptions};

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub struct RunArgs {}

/// Runs the daemon until SIGTERM or SIGINT; SIGHUP reads the configuration anew.
///
/// # Errors
/// When it cannot start, or the root of its actors fails.
pub async fn run(file: Option<PathBuf>) -> anyhow::Result<Exit> {
    let environment = Environment::of_process();
    let config = match Config::load(file.as_deref(), &environment) {
        Ok(config) => config,
        Err(faults) => {
            super::complain(&faults.to_string());
            return Ok(Exit::Usage);
        }
    };
    let logs = crate::telemetry::init_logging(&log_options(&config))?;
    for warning in &config.warnings {
        tracing::warn!(%warning, "configuration: {warning}");
    }
    // Asked for before anything starts, so that no early signal is lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let clock = clock_of(&config);
    let seed = daemon::installation_seed(&config)?;
    let mut daemon =
        Daemon::start(config, clock, seed, daemon::ROOT_LOOK, Durability::Machine).await?;
    notify(&[
        NotifyState::Ready,
        NotifyState::Status(&format!("serving {}", daemon.address())),
    ]);
    let watchdog = watchdog(daemon.handle());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&daemon, file.as_deref(), &environment, &logs).await,
            () = daemon.root_ended() => {
                notify(&[NotifyState::Stopping]);
                anyhow::bail!("the root of the actors failed; the service manager starts roasd again");
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping: what is on its way to Meta is heard out");
    watchdog.abort();
    // A second signal does not wait.
    tokio::select! {
        () = daemon.stop() => Ok(Exit::Done),
        _ = terminate.recv() => Ok(Exit::Failed),
        _ = interrupt.recv() => Ok(Exit::Failed),
    }
}

/// The clock that the configuration asks for: the machine's, or a rehearsal's.
#[must_use]
pub fn clock_of(config: &Config) -> Arc<dyn Clock> {
    let settings = &config.clock;
    match (settings.epoch, settings.anchor) {
        (None, None) if (settings.speed - 1.0).abs() < f64::EPSILON => {
            Arc::new(SystemClock::real())
        }
        (epoch, anchor) => {
            let now = SystemClock::real().now();
            let anchor = anchor.map_or(now, |anchor| anchor.0);
            Arc::new(SystemClock::scaled(
                settings.speed,
                epoch.unwrap_or(anchor),
                anchor,
            ))
        }
    }
}

/// How the process logs by its configuration.
#[must_use]
pub fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        filter: config.daemon.log.as_str().to_owned(),
        format: match config.daemon.log_format {
            Format::Auto => LogFormat::Auto,
            Format::Pretty => LogFormat::Pretty,
            Format::Json => LogFormat::Json,
        },
    }
}

async fn reload(
    daemon: &Daemon,
    file: Option<&std::path::Path>,
    environment: &Environment,
    logs: &LogHandle,
) {
    notify(&[
        NotifyState::Reloading,
        NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Reloading),
    ]);
    match Config::load(file, environment) {
        Ok(config) => {
            if let Err(error) = logs.set_filter(config.daemon.log.as_str()) {
                tracing::warn!(%error, "the log filter was not changed: {error}");
            }
            match daemon.reload(config).await {
                Ok(restart) if restart.is_empty() => {}
                Ok(restart) => tracing::warn!(
                    keys = %restart.join(", "),
                    "these keys take effect only after systemctl restart roasd: {}",
                    restart.join(", ")
                ),
                Err(error) => tracing::error!(
                    error = format!("{error:#}"),
                    "the new configuration is refused, the old one stays in force: {error:#}"
                ),
            }
        }
        Err(faults) => tracing::error!(
            faults = %faults,
            "the new configuration is refused, the old one stays in force: {faults}"
        ),
    }
    notify(&[NotifyState::Ready]);
}

/// Tells the service manager that the actors turn, while they do.
fn watchdog(handle: crate::actors::handle::Handle) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let Some(period) = sd_notify::watchdog_enabled() else {
            return;
        };
        let clock = SystemClock::real();
        let half = crate::domain::time::SignedDuration::try_from(period / 2)
            .unwrap_or(crate::daemon::ROOT_LOOK);
        loop {
            if handle.is_alive() {
                notify(&[NotifyState::Watchdog]);
            }
            crate::clock::sleep(&clock, half, "watchdog").await;
        }
    })
}

fn notify(states: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(states);
}
