//! The settings of the installation as a whole: everything but the tenants.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::address::{BaseUrl, DatabaseUrl};
use super::read::{default, optional, section, table};
use super::secret::Secret;
use super::span::UnixSeconds;
use super::value::{LogFilter, checked_text, words};
use crate::domain::ids::NodeId;
use crate::domain::money::Percentage;
use crate::domain::time::{SignedDuration, Timestamp};

section! {
    /// The process itself. A change of `listen`, `data_dir`, `database_url`, `database_connections`
    /// or `log_format` needs a restart; the rest applies on `systemctl reload`.
    pub struct Daemon {
        /// The address that webhooks, clicks, the API and health are served on. Loopback, since TLS
        /// belongs to the proxy in front.
        listen: SocketAddr = default("\"127.0.0.1:8787\""),
        /// The address under which the world reaches this daemon. HubSpot signs the address that it
        /// calls, so webhooks cannot be checked without it.
        public_url: Option<BaseUrl> = optional("\"https://roasd.example.com\""),
        /// Where the database, keys and caches live. $STATE_DIRECTORY, which systemd sets, takes the
        /// place of this default.
        data_dir: PathBuf = default("\"./roasd-data\""),
        /// The database, when it is not the SQLite file `roasd.db` in `data_dir`: another file, or
        /// PostgreSQL 14 or newer, such as "postgres://roasd@host/roasd?sslmode=verify-full". An
        /// address with a password is a secret: { env = "NAME" }, { file = "/path" } or
        /// { credential = "name" }.
        database_url: Option<DatabaseUrl> = optional("\"sqlite:///var/lib/roasd/roasd.db\""),
        /// Connections to PostgreSQL at most, besides two for leases and nudges. Each node has its own, and
        /// together they stay below the server's max_connections.
        database_connections: u32 = default("16").within(2.0, 200.0),
        /// Which log lines are written: a level, and levels by module, such as
        /// "info,roasd::actors=debug".
        log: LogFilter = default("\"info\""),
        /// How log lines look: "pretty", "json", or "auto" for pretty on a terminal and JSON
        /// otherwise.
        log_format: LogFormat = default("\"auto\""),
        /// How long a soft stop waits for work in flight, above all for Meta's answer to a write.
        /// systemd's TimeoutStopSec must be longer.
        shutdown_grace: SignedDuration = default("\"20s\"").within(1.0, 600.0),
        /// This node's name, where several nodes share one PostgreSQL; made from the machine's name
        /// and a random part at each start when not stated.
        node: Option<NodeName> = optional("\"west-1\""),
        /// How long a tenant stays with a node that is silent, where several nodes share one
        /// PostgreSQL. It is renewed three times as often; a shorter one hands over sooner, and
        /// bears less.
        lease: SignedDuration = default("\"6s\"").within(1.0, 300.0),
        /// How long a tenant may be down before /healthz answers 503.
        health_grace: SignedDuration = default("\"10m\"").within(10.0, 86_400.0),
    }
}

words! {
    /// How log lines look.
    pub enum LogFormat {
        /// Pretty on a terminal, JSON otherwise.
        Auto = "auto",
        /// For people.
        Pretty = "pretty",
        /// One object a line.
        Json = "json",
    }
}

section! {
    /// For rehearsals alone: time = epoch + speed * (wall clock - anchor). Anything but real time is
    /// refused unless every vendor address is on loopback. Time-outs, leases and heartbeats always
    /// take wall time.
    pub struct ClockSettings {
        /// How many seconds pass in one second of the wall clock.
        speed: f64 = default("1.0").within(0.001, 1_000_000.0),
        /// The time it was when the wall clock read `anchor`.
        epoch: Option<Timestamp> = optional("\"2026-01-01T00:00:00Z\""),
        /// That reading of the wall clock, in Unix seconds.
        anchor: Option<UnixSeconds> = optional("1790000000"),
    }
}

section! {
    /// What is kept of people, and for how long. Addresses, devices and fingerprints are stored as
    /// keyed hashes only.
    pub struct Privacy {
        /// The key of those hashes. Made in `data_dir` at the first start; to be given when several
        /// nodes share a database. A new key makes all hashes so far useless for matching.
        hash_key: Option<Secret> = optional("{ env = \"ROASD_HASH_KEY\" }"),
        /// Whether fingerprints and the probabilistic layer use only clicks whose visitor consented.
        /// Turning this off may be unlawful where your visitors live.
        consent: bool = default("true"),
        /// How long visits are kept, and what the layers of attribution said of them. Longer than
        /// the time from click to sale, or late sales cannot be attributed.
        visit_retention: SignedDuration = default("\"90d\"").within(86_400.0, 94_608_000.0),
        /// How long settled and dropped webhook deliveries are kept. What is in quarantine waits for
        /// a person.
        inbox_retention: SignedDuration = default("\"30d\"").within(86_400.0, 94_608_000.0),
    }
}

section! {
    /// How fast visits to landing pages are taken; what comes faster is answered 429.
    pub struct Clicks {
        /// Reports of one address in a minute, half of which may come at once. Visitors behind one
        /// address (an office, a mobile carrier) share it.
        per_address_per_minute: u32 = default("60").within(2.0, 1_000_000.0),
        /// Reports to one tenant in a second; as many as in two seconds may come at once.
        per_tenant_per_second: u32 = default("500").within(1.0, 1_000_000.0),
    }
}

section! {
    /// How fast the API is used; what comes faster is answered 429. Tokens are made by
    /// `roasd token create`.
    pub struct Api {
        /// Requests with one token in a second; as many as in two seconds may come at once.
        per_token_per_second: u32 = default("50").within(1.0, 1_000_000.0),
        /// Requests of one address in a minute, whatever its tokens; half of them may come at once.
        per_address_per_minute: u32 = default("6000").within(2.0, 10_000_000.0),
        /// Requests of one address in a minute whose token is missing or wrong, before it must wait;
        /// half of them may come at once.
        refused_per_address_per_minute: u32 = default("30").within(2.0, 1_000_000.0),
    }
}

section! {
    /// Meta's Marketing API.
    pub struct MetaSettings {
        /// Where it is; another address only for rehearsals against the sandbox.
        base_url: BaseUrl = default("\"https://graph.facebook.com\""),
        /// The version to call. Versions die within months: a warning header raises an alert, and
        /// then this changes.
        api_version: ApiVersion = default("\"v25.0\""),
        /// The app's id: tells roasd's own edits from those of people and other software.
        app_id: Option<String> = optional("\"123456789012345\""),
        /// The app's secret: signs every call (appsecret_proof).
        app_secret: Option<Secret> = optional("{ env = \"META_APP_SECRET\" }"),
        /// A word of your choice that Meta says when it checks /webhooks/meta, the address of lead
        /// forms' webhooks: the "verify token" of the subscription. Needs app_secret.
        verify_token: Option<Secret> = optional("{ env = \"META_VERIFY_TOKEN\" }"),
        /// The app's tier: "development" (called Limited today) or "standard" (called Full). A new
        /// app has the small budget of calls; claiming the large one gets it blocked.
        access_tier: AccessTier = default("\"development\""),
        /// How long one call may take.
        request_timeout: SignedDuration = default("\"30s\"").within(1.0, 300.0),
        /// How far Meta's published limits are used.
        limits: MetaAppLimits = table(),
        /// When the figures of a large account are ordered as reports, which Meta works out while
        /// roasd does other things.
        reports: MetaReports = table(),
    }
}

section! {
    /// When the figures of a large account are ordered as reports, which Meta works out while roasd
    /// does other things.
    pub struct MetaReports {
        /// Figures that are expected to have more rows (one for each ad and day) are ordered; fewer
        /// are read at once.
        from_rows: u32 = default("5000").within(1.0, 1_000_000.0),
        /// A report that is not ready after so long is given up and ordered smaller.
        deadline: SignedDuration = default("\"1h\"").within(60.0, 86_400.0),
        /// Reports that may be under way at once of each reading: of the last 3, 7 and 28 days, and of
        /// the last hours.
        in_flight: u32 = default("3").within(1.0, 20.0),
    }
}

section! {
    /// How far Meta's published limits are used. They are shared with everything else that uses the
    /// same app or account, so some room is left.
    pub struct MetaAppLimits {
        /// Calls of a whole app in an hour, over all tenants that use it. `write_reserve` of them is
        /// kept for pauses.
        app_calls_per_hour: u32 = default("4000").within(10.0, 1_000_000.0),
        /// The share of an ad account's score (60 points in development, 9000 in standard, in 5
        /// minutes; a read is 1 point, a write 3) that roasd takes.
        account_share: Percentage = default("\"80%\"").within(0.05, 1.0),
        /// The share of that kept for ordinary writes, and as much again for pauses, so that a pause
        /// always gets through. Reads have the rest.
        write_reserve: Percentage = default("\"25%\"").within(0.05, 0.45),
        /// From this reading of Meta's usage headers on, a call counts twice; from half way to
        /// `stop_reads_at` on, four times.
        slow_at: Percentage = default("\"50%\"").within(0.1, 0.95),
        /// From this one on, reads stop, and with them every write but a pause.
        stop_reads_at: Percentage = default("\"90%\"").within(0.2, 1.0),
        /// Over how much of each period the syncs of many tenants are spread, each at its own place,
        /// so that they do not all call at the full hour: 0.6 s for each tenant, at most this.
        sync_spread: SignedDuration = default("\"10m\"").within(0.0, 3_600.0),
    }
}

words! {
    /// The app's tier at Meta, which sets how much it may call.
    pub enum AccessTier {
        /// The small budget; "Limited Access" in Meta's newer words.
        Development = "development",
        /// The large budget; "Full Access".
        Standard = "standard",
    }
}

section! {
    /// HubSpot's CRM API.
    pub struct HubSpotSettings {
        /// Where it is; another address only for rehearsals against the sandbox.
        base_url: BaseUrl = default("\"https://api.hubapi.com\""),
        /// The dated version to call; each is supported for 18 months.
        api_version: DatedVersion = default("\"2026-09\""),
        /// The app's client secret, which signs webhooks. A tenant with an app of its own states
        /// its own.
        client_secret: Option<Secret> = optional("{ env = \"HUBSPOT_CLIENT_SECRET\" }"),
        /// Calls in 10 seconds that a tenant's account is taken to allow until HubSpot's answers say
        /// how many: 100 (Free, Starter), 190 above.
        calls_per_10s: u32 = default("100").within(1.0, 250.0),
        /// The part of the 10 seconds' calls that is left to other software with the same token.
        burst_left_to_others: Percentage = default("\"50%\"").within(0.0, 0.95),
        /// The part of the day's calls that is left to the account's other apps, which share them: with
        /// less than this left roasd reads no deals, and asks again each hour.
        day_left_to_others: Percentage = default("\"30%\"").within(0.0, 0.95),
        /// Searches in a second for each tenant; HubSpot allows 5, shared with every app of the
        /// account.
        searches_per_second: u32 = default("3").within(1.0, 5.0),
        /// How long one call may take.
        request_timeout: SignedDuration = default("\"30s\"").within(1.0, 300.0),
    }
}

checked_text! {
    /// The name of a node.
    NodeName,
    "the name of a node",
    "\"west-1\"",
    |text| NodeId::new(text).is_ok()
}

checked_text! {
    /// A version of Meta's API such as `v25.0`.
    ApiVersion, "a version of Meta's API", "\"v25.0\"",
    |text| {
        let digits = |s: &str| !s.is_empty() && s.len() <= 4 && s.bytes().all(|b| b.is_ascii_digit());
        text.strip_prefix('v')
            .and_then(|rest| rest.split_once('.'))
            .is_some_and(|(major, minor)| digits(major) && digits(minor))
    }
}

checked_text! {
    /// A dated version of HubSpot's API such as `2026-09`.
    DatedVersion, "a dated version of HubSpot's API", "\"2026-09\"",
    |text| {
        text.split_once('-').is_some_and(|(year, month)| {
            year.len() == 4
                && year.bytes().all(|b| b.is_ascii_digit())
                && (month == "03" || month == "09")
        })
    }
}
