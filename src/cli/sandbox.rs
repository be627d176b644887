//! `roasd sandbox`: the simulated vendors alone, for rehearsals.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use super::demo::write_config;
use crate::clock::{Clock, SystemClock};
use crate::domain::time;
use crate::sandbox::{DeliverTo, Sandbox, SandboxConfig};

/// What `sandbox` takes.
#[derive(Debug, clap::Args)]
pub struct SandboxArgs {
    /// Where the journal and a matching roasd configuration are kept.
    #[arg(long, default_value = "roasd-sandbox")]
    pub dir: PathBuf,
    /// Seed of the market.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// How many tenants: gyms, shops and clinics by turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    pub tenants: u32,
    /// Deals that each tenant has in its CRM from the 80 days before, for rehearsals of a backfill.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub backlog: u32,
    /// Let HubSpot take any number of calls.
    #[arg(long)]
    pub unlimited: bool,
    /// Where to listen; loopback only.
    #[arg(long, default_value = "127.0.0.1:8790")]
    pub listen: SocketAddr,
    /// How many seconds of the market pass in one of the wall clock.
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// Where roasd listens, on loopback; visits and webhooks are delivered there.
    #[arg(long, default_value = "127.0.0.1:8787")]
    pub deliver_to: SocketAddr,
}

/// Runs the vendors until SIGINT or SIGTERM.
///
/// # Errors
/// When the address or the journal cannot be used.
pub async fn run(args: &SandboxArgs, out: &mut (dyn Write + Send)) -> anyhow::Result<Exit> {
    if !(args.speed.is_finite() && args.speed > 0.0) {
        super::complain("--speed must be above 0");
        return Ok(Exit::Usage);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    std::fs::create_dir_all(&args.dir)?;
    let mut config = SandboxConfig::demo(&args.dir, args.seed).with_tenants(args.tenants);
    config.listen = args.listen;
    config.is_unlimited = args.unlimited;
    for tenant in &mut config.tenants {
        tenant.backlog_deals = args.backlog;
        tenant.backlog_as_lived = true;
    }
    let begin = Sandbox::resume_time(&args.dir)?.unwrap_or(config.start);
    // The printed configuration takes whole seconds, and both must live by one time.
    let anchor = time::from_seconds(SystemClock::real().now().as_second());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::scaled(args.speed, begin, anchor));
    let sandbox = Sandbox::start(config, clock).await?;
    let settings = super::demo::Settings {
        listen: args.deliver_to,
        clock: Some((args.speed, begin, anchor)),
        poll: time::seconds(15),
    };
    let file = write_config(&args.dir, &sandbox, &settings)?;
    sandbox.start_deliveries(DeliverTo {
        base: format!("http://{}", args.deliver_to),
        public_url: super::demo::PUBLIC_URL.to_owned(),
    })?;
    writeln!(
        out,
        "Meta    {}\nHubSpot {}\n\nA daemon to go with it:  roasd --config {} run",
        sandbox.meta_base(),
        sandbox.hubspot_base(),
        file.display()
    )?;
    out.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    sandbox.stop().await;
    Ok(Exit::Done)
}
