//! Where the database is and how it is connected to.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use super::faults::is_weather;
use super::session::Patience;
use crate::store::StoreError;
use crate::store::sql::schema::refuse;

/// How a database is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Make the tables when there are none. Without it an empty database is an error, so that a
    /// command with a mistyped address does not leave tables behind.
    pub create: bool,
    /// Bring an older schema up to date. Without it an older schema is an error.
    pub migrate: bool,
    /// Connections at most, besides the one that listens for nudges.
    pub connections: u32,
    /// How long to wait for a free or new connection. A restart of the server fits into it.
    pub acquire_timeout: Duration,
    /// How long a statement may run.
    pub statement_timeout: Duration,
    /// How long a statement may wait for a lock.
    pub lock_timeout: Duration,
    /// How long a transaction may be left alone. A process that was stopped in the middle of one
    /// holds its locks for so long.
    pub idle_in_transaction_timeout: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            create: true,
            migrate: true,
            connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(20),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(5),
        }
    }
}

/// The least version known to have all that is used. Source: PostgreSQL 14, "Release Notes": bodies of
/// functions in standard SQL.
const VERSION_MIN: u32 = 140_000;

/// Statements that a connection keeps prepared: all there are.
const STATEMENTS_KEPT: usize = 256;

/// How long a connection may be idle before it is tried ahead of use.
const TRIED_AFTER: Duration = Duration::from_secs(1);

/// How long such a try may take.
const TRY_WITHIN: Duration = Duration::from_secs(2);

/// How long a connection is used. After a failover by name the last ones to the old server go then.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Parameters of a URL that mean something to the driver. Another is refused and not passed on: the
/// driver would only log it, with its value, which may be a password under a mistyped name.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// The server and the database on it.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it is, without a password.
    pub(super) place: String,
    options: PgConnectOptions,
}

impl Server {
    /// The server that a URL names, with all that every connection is to be set to.
    pub(super) fn of(url: &str, open: &OpenOptions) -> Result<Self, StoreError> {
        // The URL may hold a password and is not repeated.
        let cannot = |detail: &str| {
            let scheme = url.split_once(':').map_or("postgres", |(scheme, _)| scheme);
            refuse(&format!("{scheme}:…"), detail)
        };
        let parsed = url::Url::parse(url)
            .map_err(|_| cannot("it is not a URL; write postgres://USER@HOST:PORT/DATABASE"))?;
        for (name, _) in parsed.query_pairs() {
            if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
                return Err(cannot(&format!(
                    "its parameter {name:?} is not known; known are {}",
                    PARAMETERS.join(", ")
                )));
            }
        }
        // What the driver says of a value that it cannot read is told by the parameter's name alone.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            cannot("one of its parameters, such as sslmode or port, has a value that is none")
        })?;
        let options = if options.get_database().is_some() {
            options
        } else {
            let own = options.get_username().to_owned();
            options.database(&own)
        };
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name(concat!("roasd ", env!("CARGO_PKG_VERSION"))),
        };
        let options = settings(options, open).disable_statement_logging();
        Ok(Self {
            place: place(&options),
            options: if url.contains("statement-cache-capacity") {
                options
            } else {
                options.statement_cache_capacity(STATEMENTS_KEPT)
            },
        })
    }

    /// Connects once, or says what an operator can do about it.
    pub(super) async fn connect(&self, within: Duration) -> Result<PgConnection, StoreError> {
        let connected = tokio::time::timeout(within, self.options.connect()).await;
        let conn = match connected {
            Ok(connected) => connected.map_err(|error| self.cannot_connect(error))?,
            Err(_) => {
                return Err(StoreError::Unavailable {
                    doing: CONNECTING,
                    cause: format!("{} does not answer", self.place).into(),
                });
            }
        };
        if let Some(found) = conn
            .server_version_num()
            .filter(|found| *found < VERSION_MIN)
        {
            return Err(refuse(
                &self.place,
                format!(
                    "it is PostgreSQL {}; 14 is the oldest that will do",
                    found / 10_000
                ),
            ));
        }
        Ok(conn)
    }

    fn cannot_connect(&self, error: sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|cause| cause.code());
        // Source: PostgreSQL, "Appendix A. PostgreSQL Error Codes".
        let remedy = match code.as_deref() {
            Some("28P01") => "its user's password is not accepted",
            Some("28000") => "its user may not connect; see the server's pg_hba.conf and sslmode",
            Some("3D000") => "there is no such database; make it: createdb -O USER DATABASE",
            Some("42501") => "its user may not connect to the database; grant connect to it",
            _ => match &error {
                sqlx::Error::Tls(_) => {
                    return refuse(&self.place, format!("no TLS with it: {error}"));
                }
                sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
                    return refuse(
                        &self.place,
                        format!("its TLS certificate is not accepted: {cause}; see sslrootcert"),
                    );
                }
                error if is_weather(error) => {
                    return StoreError::Unavailable {
                        doing: CONNECTING,
                        cause: format!("{}: {error}", self.place).into(),
                    };
                }
                error => return refuse(&self.place, error.to_string()),
            },
        };
        refuse(&self.place, remedy)
    }

    /// The connections that work is done on.
    pub(super) fn pool(&self, open: &OpenOptions, patience: &Patience) -> PgPool {
        let (before, after) = (patience.clone(), patience.clone());
        PgPoolOptions::new()
            .max_connections(open.connections.max(1))
            .acquire_timeout(open.acquire_timeout)
            .max_lifetime(LIFETIME)
            // A connection in steady use shows by itself when it breaks. One that was idle is tried
            // first, and each is when one broke, so that a restart of the server is met once.
            .test_before_acquire(false)
            .before_acquire(move |conn, meta| {
                let doubt = before.is_in_doubt() || meta.idle_for >= TRIED_AFTER;
                Box::pin(async move { Ok(!doubt || answers(conn).await) })
            })
            // A connection on which an answer was waited for in vain must not go back to the others,
            // nor hold its place while the operating system still hopes.
            .after_release(move |conn, _| {
                let doubt = after.is_in_doubt();
                Box::pin(async move { Ok(!doubt || answers(conn).await) })
            })
            .connect_lazy_with(self.options.clone())
    }

    /// A connection that listens, and comes back.
    pub(super) fn listener(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.options.clone())
    }
}

const CONNECTING: &str = "connecting";

/// Whether a connection is alive.
async fn answers(conn: &mut PgConnection) -> bool {
    matches!(
        tokio::time::timeout(TRY_WITHIN, conn.ping()).await,
        Ok(Ok(()))
    )
}

/// Where the database is, without a password.
fn place(options: &PgConnectOptions) -> String {
    let user = options.get_username();
    let database = options.get_database().unwrap_or_default();
    match options.get_socket() {
        Some(socket) => format!(
            "postgres://{user}@/{database}?host={}&port={}",
            socket.display(),
            options.get_port()
        ),
        None => {
            let (host, port) = (options.get_host(), options.get_port());
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            if bare.contains(':') {
                format!("postgres://{user}@[{bare}]:{port}/{database}")
            } else {
                format!("postgres://{user}@{host}:{port}/{database}")
            }
        }
    }
}

/// Sets what every connection needs, save where the URL says otherwise.
fn settings(options: PgConnectOptions, open: &OpenOptions) -> PgConnectOptions {
    let millis = |span: Duration| format!("{}ms", span.as_millis());
    let given = options.get_options().unwrap_or_default().to_owned();
    [
        ("statement_timeout", millis(open.statement_timeout)),
        ("lock_timeout", millis(open.lock_timeout)),
        (
            "idle_in_transaction_session_timeout",
            millis(open.idle_in_transaction_timeout),
        ),
        // What was acknowledged is on disk, whatever the server's default is.
        ("synchronous_commit", "on".to_owned()),
        // Every statement has one good plan, whatever its parameters: by its tenant and an index. To
        // plan it anew each time would take longer than to run it, and so would compiling it.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
        ("jit", "off".to_owned()),
    ]
    .into_iter()
    .filter(|(name, _)| !given.contains(&format!("{name}=")))
    .fold(options, |options, setting| options.options([setting]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, StoreError> {
        Server::of(url, &OpenOptions::default())
    }

    #[test]
    fn a_place_never_shows_the_password() {
        for (url, wanted) in [
            ("postgres://u:secret@h/db", "postgres://u@h:5432/db"),
            (
                "postgresql://u:secret@h:6000/db?sslmode=require",
                "postgres://u@h:6000/db",
            ),
            (
                "postgres://u:secret@[::1]:6000/db",
                "postgres://u@[::1]:6000/db",
            ),
            (
                "postgres:///db?host=/run/postgresql&user=u&password=secret",
                "postgres://u@/db?host=/run/postgresql&port=5432",
            ),
            ("postgres://u:secret@h", "postgres://u@h:5432/u"),
        ] {
            assert_eq!(server(url).unwrap().place, wanted, "{url}");
        }
    }

    #[test]
    fn a_bad_url_is_refused_without_repeating_it() {
        for (url, words) in [
            ("postgres://u:secret@h:port/db", "postgres://USER@HOST"),
            ("postgres://u:secret@h/db?sslmode=secret", "sslmode"),
            ("postgres://u@h/db?passwd=secret", "passwd"),
            ("postgres://u@h/db?port=secret", "port"),
        ] {
            let error = server(url).err().map(|error| format!("{error:?} {error}"));
            let error = error.unwrap_or_default();
            assert!(error.contains(words), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_url_may_set_what_roasd_would() {
        let set = |url: &str| {
            let server = server(url).unwrap();
            server.options.get_options().unwrap_or_default().to_owned()
        };
        let plain = set("postgres://u@h/db");
        for wanted in [
            "statement_timeout=20000ms",
            "lock_timeout=5000ms",
            "idle_in_transaction_session_timeout=5000ms",
            "synchronous_commit=on",
        ] {
            assert!(plain.contains(wanted), "{plain}");
        }
        let own = set("postgres://u@h/db?options=-c%20lock_timeout=1s%20-c%20search_path=roasd");
        assert!(own.contains("lock_timeout=1s"), "{own}");
        assert!(!own.contains("lock_timeout=5000ms"), "{own}");
        assert!(own.contains("search_path=roasd"), "{own}");
        assert!(own.contains("statement_timeout=20000ms"), "{own}");
    }
}
