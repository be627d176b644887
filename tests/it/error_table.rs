//! The table of Meta's errors, row by row: the sandbox answers a real call with the error, and what
//! follows is asserted: what the caller is told, whose calls rest and for how long, that this is what
//! the store would keep, that a process started on it rests as well, and that no call leaves before
//! the rest is over.

use std::sync::Arc;
use std::time::Duration;

use roasd::actors::context::{gate_rows, gate_snapshot};
use roasd::clock::{Clock, SteppedClock};
use roasd::domain::change::Target;
use roasd::domain::ids::AdAccountId;
use roasd::domain::money::{Currency, Money};
use roasd::domain::structure::EntityRef;
use roasd::domain::time::{self, SignedDuration, Timestamp};
use roasd::sandbox::{Fault, FaultAction, Sandbox, SandboxConfig, TenantSpec, Vendor};
use roasd::vendors::meta::client::{MetaClient, MetaClientConfig};
use roasd::vendors::meta::throttle::{CallKind, Caller, GateConfig, MetaGate};
use roasd::vendors::meta::{InsightsQuery, MetaAds};
use roasd::vendors::{Refusal, VendorError, http_client};

/// What the caller is told, by what it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Try again.
    Retry,
    /// A write that may have had its effect: read it back.
    Unknown,
    /// Ask for less.
    TooMuch,
    /// The gate rests.
    Throttled,
    /// The token is bad: the tenant is held, a person is told.
    Token,
    /// Not there.
    NotFound,
    /// This value will not do.
    BadValue,
    /// This object rests for an hour; nothing else does.
    Locked,
    /// The tenant is held, a person is told.
    Trouble,
    /// Everything stops.
    Dead,
    /// Refused for good.
    Never,
}

fn told(error: &VendorError) -> Told {
    match error {
        VendorError::Retry { .. } => Told::Retry,
        VendorError::Unknown { .. } => Told::Unknown,
        VendorError::TooMuch { .. } => Told::TooMuch,
        VendorError::Throttled { .. } => Told::Throttled,
        VendorError::Unauthorized { .. } => Told::Token,
        VendorError::Refused { kind, .. } => match kind {
            Refusal::NotFound => Told::NotFound,
            Refusal::BadValue => Told::BadValue,
            Refusal::ObjectLocked => Told::Locked,
            Refusal::AccountTrouble => Told::Trouble,
            Refusal::DeadVersion => Told::Dead,
            Refusal::Other => Told::Never,
        },
    }
}

/// Whose calls rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nobody,
    App(i64),
    Account(i64),
    /// The account's calls of the use case with this name.
    Case(&'static str, i64),
    /// Those of the use case that was called.
    Called(i64),
}

/// What was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Structure,
    Figures,
    Write,
}

const DAY: &str = "2026-01-01";

/// One sandbox for all rows, whose own time stands still.
struct Lab {
    sandbox: Sandbox,
    spec: TenantSpec,
    _dir: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let mut config = SandboxConfig::demo(dir.path(), 1);
        config.tenants.truncate(1);
        let clock = Arc::new(SteppedClock::new(config.start));
        let sandbox = Sandbox::start(config, clock).await.unwrap();
        Self {
            spec: sandbox.config().tenants[0].clone(),
            sandbox,
            _dir: dir,
        }
    }

    /// A gate and a client that know of nothing yet.
    fn rig(&self) -> Rig<'_> {
        let clock = SteppedClock::new(self.sandbox.config().start);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let gate = Arc::new(MetaGate::new(GateConfig::default(), shared.clone()));
        let client = MetaClient::new(
            MetaClientConfig {
                base_url: self.sandbox.meta_base(),
                api_version: "v25.0".to_owned(),
                ad_account: self.spec.ad_account.clone(),
                token: self.spec.meta_token.clone().into(),
                app_id: Some(self.sandbox.config().app_id.clone()),
                app_secret: self.sandbox.config().app_secret.clone().map(Into::into),
                timeout: Duration::from_secs(20),
            },
            gate.clone(),
            shared,
            http_client(Duration::from_secs(5)).unwrap(),
        );
        Rig {
            lab: self,
            clock,
            gate,
            client: client.unwrap(),
        }
    }
}

struct Rig<'a> {
    lab: &'a Lab,
    clock: SteppedClock,
    gate: Arc<MetaGate>,
    client: MetaClient,
}

impl Rig<'_> {
    fn fresh_gate(&self) -> MetaGate {
        MetaGate::new(GateConfig::default(), Arc::new(self.clock.clone()))
    }

    /// Makes a call that is answered so, with a permit as every call has.
    async fn call(&self, asked: Asked, action: FaultAction) -> VendorError {
        let (method, kind) = match asked {
            Asked::Structure => ("GET", CallKind::Read),
            Asked::Figures => ("GET", CallKind::Insights),
            Asked::Write => ("POST", CallKind::Write),
        };
        self.lab
            .sandbox
            .add_fault(Fault::next(Vendor::Meta, method, "/v25.0/", action));
        let caller = Caller {
            account: self.lab.spec.ad_account.clone(),
            tenant: self.lab.spec.tenant.clone(),
        };
        let permit = self.gate.permit(&caller, kind, SignedDuration::ZERO).await;
        let permit = permit.unwrap();
        let usd = Currency::USD;
        match asked {
            Asked::Structure => {
                let page = self.client.campaigns(permit, usd, None).await;
                page.map(|_| ()).unwrap_err()
            }
            Asked::Figures => {
                let day = time::parse_date(DAY).unwrap();
                let query = InsightsQuery {
                    since: day,
                    until: day,
                    is_hourly: false,
                    page_size: 100,
                    campaigns: Vec::new(),
                };
                let page = self.client.insights(permit, usd, &query, None).await;
                page.map(|_| ()).unwrap_err()
            }
            Asked::Write => {
                let entity = EntityRef::AdSet("77".parse().unwrap());
                let target = Target::DailyBudget(Money::from_minor(2_500, usd));
                let receipt = self.client.write(permit, &entity, target).await;
                receipt.map(|_| ()).unwrap_err()
            }
        }
    }

    /// Whose calls rest and until when, as the store would keep it.
    fn resting(&self) -> Vec<(String, Timestamp)> {
        gate_rows(&self.gate, self.clock.now())
            .into_iter()
            .filter_map(|row| Some((row.scope, row.blocked_until?)))
            .collect()
    }
}

/// Which kinds of calls must wait.
fn closed(gate: &MetaGate, account: &AdAccountId) -> Vec<CallKind> {
    [
        CallKind::Read,
        CallKind::Insights,
        CallKind::Leads,
        CallKind::Write,
        CallKind::SafetyWrite,
    ]
    .into_iter()
    .filter(|kind| gate.closed(account, *kind).is_some())
    .collect()
}

fn of_case(case: &str) -> Vec<CallKind> {
    match case {
        "ads_insights" => vec![CallKind::Insights],
        "leadgen" => vec![CallKind::Leads],
        _ => vec![CallKind::Read, CallKind::Write, CallKind::SafetyWrite],
    }
}

/// A row: code, subcode, what a read is told, what a write is told, whose calls rest.
type Row = (i64, i64, Told, Told, Rest);

/// Every row of the table. The one that goes by its text follows below.
fn table() -> Vec<Row> {
    use Rest::{Account, App, Called, Case, Nobody};
    use Told::{
        BadValue, Dead, Locked, Never, NotFound, Retry, Throttled, Token, TooMuch, Trouble, Unknown,
    };
    let mut rows = vec![
        // Passing faults: a read is made again, a write is read back first.
        (1, 99, Retry, Unknown, Nobody),
        (1, 0, Retry, Unknown, Nobody),
        (2, 0, Retry, Unknown, Nobody),
        (5_000, 0, Retry, Unknown, Nobody),
        (2, 1_504_043, Retry, Unknown, Nobody),
        (-2, 2_490_547, Retry, Unknown, Nobody),
        // Too much at once.
        (2, 1_504_038, TooMuch, TooMuch, Nobody),
        (100, 1_504_018, TooMuch, TooMuch, Nobody),
        (100, 1_487_534, TooMuch, TooMuch, Nobody),
        (-3, 1_504_045, TooMuch, TooMuch, Nobody),
        // For good.
        (2, 1_504_041, Never, Never, Nobody),
        (2, 1_504_042, Never, Never, Nobody),
        (100, 3_191_001, Never, Never, Nobody),
        (100, 0, Never, Never, Nobody),
        (2_615, 0, Never, Never, Nobody),
        // Throttles: nothing leaves until they are over.
        (4, 0, Throttled, Throttled, App(300)),
        (4, 1_504_022, Throttled, Throttled, App(300)),
        (4, 1_504_039, Throttled, Throttled, App(300)),
        (341, 0, Throttled, Throttled, App(300)),
        (17, 0, Throttled, Throttled, Account(300)),
        (17, 2_446_079, Throttled, Throttled, Account(300)),
        (613, 1_487_742, Throttled, Throttled, Account(300)),
        (613, 5_044_001, Throttled, Throttled, Account(5)),
        (80_000, 0, Throttled, Throttled, Case("ads_insights", 300)),
        (80_004, 0, Throttled, Throttled, Case("ads_management", 300)),
        (
            80_004,
            2_446_079,
            Throttled,
            Throttled,
            Case("ads_management", 300),
        ),
        (80_003, 0, Throttled, Throttled, Called(300)),
        (80_014, 0, Throttled, Throttled, Called(300)),
        (32, 0, Throttled, Throttled, Called(300)),
        (80_001, 0, Throttled, Throttled, Called(300)),
        (80_002, 0, Throttled, Throttled, Called(300)),
        (80_005, 0, Throttled, Throttled, Case("leadgen", 300)),
        (80_006, 0, Throttled, Throttled, Called(300)),
        (80_008, 0, Throttled, Throttled, Called(300)),
        (80_009, 0, Throttled, Throttled, Called(300)),
        // One object rests; the executor asks again after an hour.
        (613, 1_487_632, Locked, Locked, Nobody),
        (613, 1_487_225, Locked, Locked, Nobody),
        (17, 1_885_172, Locked, Locked, Nobody),
        // The account is stopped and a person told; unusual volume also rests for an hour.
        (613, 0, Trouble, Trouble, Account(3_600)),
        (613, 1_996, Trouble, Trouble, Account(3_600)),
        (2_635, 0, Dead, Dead, Nobody),
        (100, 33, NotFound, NotFound, Nobody),
        (2_601, 1_815_107, Retry, Retry, Nobody),
    ];
    for code in [368, 1_404_078, 2_859_015, 1_404_163, 3_910_001] {
        rows.push((code, 0, Trouble, Trouble, Nobody));
    }
    for code in [102, 104, 190, 10, 200, 250, 294, 299, 3] {
        rows.push((code, 0, Token, Token, Nobody));
    }
    for subcode in [458, 463, 460, 467, 464, 459, 492] {
        rows.push((190, subcode, Token, Token, Nobody));
    }
    for subcode in [1_487_007, 1_487_033, 1_487_056, 1_487_566, 1_885_088] {
        rows.push((100, subcode, Never, Never, Nobody));
    }
    for subcode in [
        1_885_272, 1_885_650, 1_487_901, 2_238_055, 2_446_307, 1_885_621,
    ] {
        rows.push((100, subcode, BadValue, BadValue, Nobody));
    }
    rows
}

async fn check(lab: &Lab, (code, subcode, read, write, rest): Row) {
    for (asked, expected, called) in [
        (Asked::Structure, read, "ads_management"),
        (Asked::Figures, read, "ads_insights"),
        (Asked::Write, write, "ads_management"),
    ] {
        let row = format!("{code}/{subcode} of {asked:?}");
        let rig = lab.rig();
        let account = lab.spec.ad_account.clone();
        let now = rig.clock.now();
        let error = rig.call(asked, FaultAction::Error { code, subcode }).await;
        assert_eq!(told(&error), expected, "{row}: {error}");
        // Whose calls rest, and until when: what is asked for again by then is asked for no earlier.
        let rests = match rest {
            Rest::Called(seconds) => Rest::Case(called, seconds),
            other => other,
        };
        let (scope, seconds, kinds) = match rests {
            Rest::Nobody | Rest::Called(_) => (None, 0, Vec::new()),
            Rest::App(seconds) => (Some("app".to_owned()), seconds, closed_all()),
            Rest::Account(seconds) => (Some(account.to_string()), seconds, closed_all()),
            Rest::Case(case, seconds) => {
                (Some(format!("{account}/{case}")), seconds, of_case(case))
            }
        };
        let until = time::add(now, time::seconds(seconds));
        let expected: Vec<_> = scope.map(|scope| (scope, until)).into_iter().collect();
        assert_eq!(rig.resting(), expected, "{row}");
        if let VendorError::Throttled { wait, .. } = &error {
            assert_eq!(*wait, time::seconds(seconds), "{row}");
        }
        // The same in a process that is started on what was kept.
        let again = rig.fresh_gate();
        again.restore(gate_snapshot(&gate_rows(&rig.gate, now), None, &[&account]));
        for gate in [&*rig.gate, &again] {
            assert_eq!(closed(gate, &account), kinds, "{row}");
            let other = AdAccountId::new("999").unwrap();
            let is_apps = matches!(rests, Rest::App(_));
            assert_eq!(closed(gate, &other).is_empty(), !is_apps, "{row}");
        }
        rig.clock.run_until(until).await;
        for gate in [&*rig.gate, &again] {
            assert!(closed(gate, &account).is_empty(), "{row}: it is over");
        }
    }
}

fn closed_all() -> Vec<CallKind> {
    vec![
        CallKind::Read,
        CallKind::Insights,
        CallKind::Leads,
        CallKind::Write,
        CallKind::SafetyWrite,
    ]
}

#[tokio::test]
async fn every_error_of_the_table_is_handled_as_it_says() {
    let lab = Lab::new().await;
    for row in table() {
        check(&lab, row).await;
    }
    // The one row that goes by its text, and a gateway's answers.
    for (action, read) in [
        (FaultAction::ReduceData, Told::TooMuch),
        (FaultAction::Status { status: 500 }, Told::Retry),
        (FaultAction::Status { status: 502 }, Told::Retry),
        (FaultAction::Status { status: 503 }, Told::Retry),
        (FaultAction::Html, Told::Retry),
        (FaultAction::Truncate, Told::Retry),
        (FaultAction::DropAfter, Told::Retry),
    ] {
        let rig = lab.rig();
        let error = rig.call(Asked::Figures, action.clone()).await;
        assert_eq!(told(&error), read, "{action:?}");
        assert!(rig.resting().is_empty(), "{action:?}");
    }
    let error = lab.rig().call(Asked::Write, FaultAction::DropAfter).await;
    let why = "read back before it is sent again";
    assert_eq!(told(&error), Told::Unknown, "{why}");
    lab.sandbox.stop().await;
}
