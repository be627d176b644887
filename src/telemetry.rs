//! Sets up logs and metrics for the process; knows no domain and no configuration file.
//!
//! Logs go to standard error: readable on a terminal, one JSON object a line otherwise, which is
//! what journald and log shippers read. Metrics are gathered in the process and rendered on demand;
//! nothing here listens. Every metric is named, described and bounded in [`names`].

use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

pub mod names;

/// The filter in force when nobody asked for another.
pub const DEFAULT_FILTER: &str = "info";

/// The environment variable that wins over the configured filter.
pub const FILTER_VARIABLE: &str = "RUST_LOG";

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Readable when standard error is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One readable line an event.
    Pretty,
    /// One JSON object an event, fields at its top level.
    Json,
}

/// How the process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// What to log, in the words of `RUST_LOG`: `info`, `info,roasd::actors=debug`.
    /// The environment variable `RUST_LOG`, when set and not empty, is used in its place.
    pub filter: String,
    /// The shape of a line.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            filter: DEFAULT_FILTER.to_owned(),
            format: LogFormat::Auto,
        }
    }
}

/// Why logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A filter that is not in the words of `RUST_LOG`.
    #[error(
        "the log filter {filter:?} from {origin} cannot be read; write it as \"info,roasd=debug\""
    )]
    Filter {
        /// The text as it was given.
        filter: String,
        /// Where it came from: `RUST_LOG` or the configuration.
        origin: &'static str,
        /// What the parser says.
        #[source]
        cause: tracing_subscriber::filter::ParseError,
    },
    /// The process already logs; a second set-up is a mistake of the caller.
    #[error("logging is already set up in this process")]
    AlreadyLogging,
    /// Another metrics recorder was installed first; nothing would reach ours.
    #[error("another metrics recorder is already installed in this process")]
    AlreadyRecording,
}

/// Changes what is logged while the process runs.
#[derive(Debug, Clone)]
pub struct LogHandle {
    filter: reload::Handle<EnvFilter, Registry>,
    pinned: bool,
}

impl LogHandle {
    /// Puts `filter` in force from the next event on. Returns whether it did: `RUST_LOG`, if it was
    /// set when the process started, stays in force over any configuration.
    ///
    /// # Errors
    /// [`TelemetryError::Filter`] when `filter` cannot be read; the old one stays in force.
    pub fn set_filter(&self, filter: &str) -> Result<bool, TelemetryError> {
        let filter = parse(filter, "the configuration")?;
        // Only a subscriber that is gone can refuse, and then nobody reads the log either.
        Ok(!self.pinned && self.filter.reload(filter).is_ok())
    }
}

/// Starts logging to standard error for the whole process; to be called once, before anything logs.
///
/// # Errors
/// [`TelemetryError::Filter`] when the filter in force cannot be read, and
/// [`TelemetryError::AlreadyLogging`] on a second call.
pub fn init_logging(options: &LogOptions) -> Result<LogHandle, TelemetryError> {
    let terminal = io::stderr().is_terminal();
    let pinned = std::env::var(FILTER_VARIABLE)
        .ok()
        .filter(|text| !text.trim().is_empty());
    let filter = match &pinned {
        Some(text) => parse(text, FILTER_VARIABLE)?,
        None => parse(&options.filter, "the configuration")?,
    };
    let shape = match options.format {
        LogFormat::Json => Shape::Json,
        LogFormat::Auto if !terminal => Shape::Json,
        LogFormat::Auto | LogFormat::Pretty => Shape::Pretty {
            // https://no-color.org: present and not empty means no colour.
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        },
    };
    let (subscriber, handle) = subscriber(filter, shape, io::stderr);
    subscriber
        .try_init()
        .map_err(|_| TelemetryError::AlreadyLogging)?;
    Ok(LogHandle {
        filter: handle,
        pinned: pinned.is_some(),
    })
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Pretty { colour: bool },
    Json,
}

fn parse(filter: &str, origin: &'static str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|cause| TelemetryError::Filter {
            filter: filter.to_owned(),
            origin,
            cause,
        })
}

/// Crates whose detailed events repeat URLs, headers or bodies, and so could print a token.
const CARRIERS: &[&str] = &["h2", "hyper", "hyper_util", "reqwest", "rustls", "sqlx"];

/// Tells whether an event may be written whatever the filter says.
fn carries_no_secret(event: &Metadata<'_>) -> bool {
    let source = event.target().split("::").next().unwrap_or_default();
    *event.level() <= Level::INFO || !CARRIERS.contains(&source)
}

fn subscriber<W>(
    filter: EnvFilter,
    shape: Shape,
    writer: W,
) -> (
    impl Subscriber + Send + Sync,
    reload::Handle<EnvFilter, Registry>,
)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match shape {
        Shape::Json => Box::new(
            fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_writer(writer),
        ),
        Shape::Pretty { colour } => Box::new(fmt::layer().with_ansi(colour).with_writer(writer)),
    };
    let lines = lines.with_filter(filter.and(filter_fn(carries_no_secret)));
    (tracing_subscriber::registry().with(lines), handle)
}

/// The metrics of this process.
#[derive(Debug, Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder behind the `metrics` macros and describes every name; later calls
    /// return the same metrics, so tests and commands may call it freely.
    ///
    /// # Errors
    /// [`TelemetryError::AlreadyRecording`] when other code installed a recorder first.
    pub fn install() -> Result<&'static Self, TelemetryError> {
        static INSTALLED: OnceLock<Option<Metrics>> = OnceLock::new();
        INSTALLED
            .get_or_init(|| {
                let recorder = builder().build_recorder();
                let handle = recorder.handle();
                metrics::set_global_recorder(recorder).ok()?;
                names::describe();
                metrics::gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
                Some(Self { handle })
            })
            .as_ref()
            .ok_or(TelemetryError::AlreadyRecording)
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms have gathered. Rendering does it too; a process that nobody scrapes
    /// must call this now and then, or its samples pile up.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// The recorder's settings: true histograms, since quantiles of several nodes cannot be added up.
fn builder() -> PrometheusBuilder {
    names::HISTOGRAMS
        .iter()
        .try_fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
            builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)
        })
        // Refused only for an empty list of bounds, which a test rules out.
        .unwrap_or_default()
}

/// `url` without its user, password, query and fragment, for logs and errors. A database URL
/// carries a password and a vendor URL a proof; the host and path are what an operator needs.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let cut = url.find(['?', '#']);
    let shown = &url[..cut.unwrap_or(url.len())];
    let query = if cut.is_some() { "?…" } else { "" };
    let Some((scheme, rest)) = shown.split_once("://") else {
        return format!("{shown}{query}");
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    // A password may hold a slash or an at sign that nobody escaped: what is before the last at
    // sign of the whole is never shown.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{query}"),
        None => format!("{scheme}://{authority}{path}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, shape: Shape, log: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, _handle) =
            subscriber(parse(filter, "the test").unwrap(), shape, move || {
                writer.clone()
            });
        tracing::subscriber::with_default(subscriber, log);
        page.text()
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top_and_names_its_span() {
        let text = logged("info", Shape::Json, || {
            let _span = tracing::info_span!("stage", tenant.id = "acme").entered();
            tracing::warn!(rule = "velocity", "refused budget change {}", 7);
            tracing::debug!("too quiet to be heard");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "refused budget change 7");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["rule"], "velocity");
        assert_eq!(line["span"]["tenant.id"], "acme");
    }

    #[test]
    fn a_readable_line_has_no_colour_unless_asked() {
        let say = || tracing::info!(tenant.id = "acme", "synced");
        let plain = logged("info", Shape::Pretty { colour: false }, say);
        assert!(
            plain.contains("synced") && plain.contains("acme"),
            "{plain}"
        );
        assert!(!plain.contains('\u{1b}'), "{plain}");
        assert!(logged("info", Shape::Pretty { colour: true }, say).contains('\u{1b}'));
    }

    #[test]
    fn the_transport_never_logs_in_detail() {
        let text = logged("trace", Shape::Json, || {
            tracing::debug!(target: "reqwest::connect", "https://graph?access_token=SECRET");
            tracing::trace!(target: "hyper::proto", "SECRET");
            tracing::warn!(target: "hyper::proto", "kept");
            tracing::trace!(target: "roasd::actors", "kept too");
        });
        assert!(!text.contains("SECRET"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn the_filter_changes_while_running_unless_pinned() {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, filter) =
            subscriber(parse("warn", "the test").unwrap(), Shape::Json, move || {
                writer.clone()
            });
        let free = LogHandle {
            filter: filter.clone(),
            pinned: false,
        };
        let pinned = LogHandle {
            filter,
            pinned: true,
        };
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("first");
            assert!(!pinned.set_filter("info").unwrap());
            tracing::info!("second");
            assert!(free.set_filter("info").unwrap());
            tracing::info!("third");
            assert!(free.set_filter("roasd=loud").is_err());
            tracing::info!("fourth");
        });
        let text = page.text();
        assert!(
            !text.contains("first") && !text.contains("second"),
            "{text}"
        );
        assert!(text.contains("third") && text.contains("fourth"), "{text}");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named_with_its_origin() {
        let error = parse("roasd=loud", FILTER_VARIABLE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the log filter \"roasd=loud\" from RUST_LOG cannot be read; write it as \"info,roasd=debug\""
        );
    }

    #[test]
    fn metrics_install_once_and_render_what_was_counted() {
        let first = Metrics::install().unwrap();
        let second = Metrics::install().unwrap();
        metrics::counter!(names::CHANGES_TOTAL, "tenant" => "telemetry_test", "outcome" => "completed")
            .increment(2);
        metrics::histogram!(names::META_CALL_SECONDS, "kind" => "telemetry_test").record(0.3);
        for metrics in [first, second] {
            let text = metrics.render();
            for line in [
                concat!(
                    "roasd_build_info{version=\"",
                    env!("CARGO_PKG_VERSION"),
                    "\"} 1"
                ),
                "# TYPE roasd_changes_total counter",
                "roasd_changes_total{tenant=\"telemetry_test\",outcome=\"completed\"} 2",
                "roasd_meta_call_seconds_bucket{kind=\"telemetry_test\",le=\"0.5\"} 1",
            ] {
                assert!(text.contains(line), "{line} is not in\n{text}");
            }
        }
        first.upkeep();
    }

    #[test]
    fn a_url_loses_what_may_be_secret() {
        fn check(url: &str, expected: &str) {
            assert_eq!(redact_url(url), expected);
        }
        check(
            "postgres://roasd:pw@db:5432/roasd?sslmode=require",
            "postgres://…@db:5432/roasd?…",
        );
        check("postgres://roasd:p/w@x@db/roasd", "postgres://…@db/roasd");
        check(
            "https://graph.facebook.com/v24.0/act_1?access_token=x",
            "https://graph.facebook.com/v24.0/act_1?…",
        );
        check("https://host/path#token", "https://host/path?…");
        check(
            "sqlite:/var/lib/roasd/roasd.sqlite",
            "sqlite:/var/lib/roasd/roasd.sqlite",
        );
        check("http://127.0.0.1:8787", "http://127.0.0.1:8787");
        check("", "");
    }
}
