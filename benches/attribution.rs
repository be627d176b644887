//! How fast conversions are credited over 200,000 stored clicks: `cargo bench --bench attribution`.
//!
//! A batch is gathered from the store and credited, as the attribution stage does it; what was
//! learned of the tenant is there, since that is done once a day.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark whose set-up fails has nothing to measure"
)]

mod support;

use std::fmt;

use divan::counter::ItemsCount;
use roasd::actors::attribution::evidence::{self, Asked, ByDevice, Placements};
use roasd::domain::attribution::{self, AttributionRules, Model};
use roasd::domain::deal::{Contact, ContactFacts};
use roasd::domain::ids::{AdId, ContactId, DealId, VisitId};
use roasd::domain::time::{self, Timestamp};
use roasd::domain::visit::{AdParameters, KeyedHash, Visit};
use sqlx::Connection as _;
use support::{Backend, Home, backends, tenant};

const CLICKS: u64 = 200_000;
const CONVERSIONS: u64 = 5_000;
/// Conversions gathered at a time.
const BATCH: usize = 1_000;
/// Seconds between two clicks: all of them in thirty days.
const EVERY_S: u64 = 13;

fn main() {
    divan::main();
}

/// Which conversions.
#[derive(Debug, Clone, Copy)]
enum Mix {
    /// Three in four carry an id.
    Usual,
    /// None does.
    WithoutIds,
}

#[derive(Debug, Clone, Copy)]
struct Case(Backend, Mix);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mix = match self.1 {
            Mix::Usual => "3 of 4 carry an id",
            Mix::WithoutIds => "none carries an id",
        };
        write!(f, "{}, {mix}", self.0)
    }
}

fn cases() -> Vec<Case> {
    let mixes = |backend| [Mix::Usual, Mix::WithoutIds].map(|mix| Case(backend, mix));
    backends().into_iter().flat_map(mixes).collect()
}

fn at(s: u64) -> Timestamp {
    time::from_seconds(1_790_000_000 + i64::try_from(s).unwrap())
}

/// Bits that look like chance and are the same every time.
fn mixed(n: u64) -> u64 {
    let x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

/// One of `n`, the first ones far more often.
fn ranked(bits: u64, n: u64) -> u64 {
    let unit = (bits % 1_000_003) as f64 / 1_000_003.0;
    ((n as f64) * unit * unit * unit) as u64
}

/// What the visitor of that number shows: popular phones and rare ones, homes and gateways.
fn visitor(n: u64) -> (KeyedHash, KeyedHash, KeyedHash) {
    let model = ranked(mixed(n), 3_000);
    let version = mixed(n + 7) % 6;
    let ip = if mixed(n + 11).is_multiple_of(3) {
        format!("gateway-{}", mixed(n + 13) % 96)
    } else {
        format!("home-{}", mixed(n + 17) % 90_000)
    };
    (
        KeyedHash(format!("fingerprint-{model:026}")),
        KeyedHash(ip),
        KeyedHash(format!("agent-{model:020}-{version}")),
    )
}

fn visit(id: String, s: u64, person: u64, ad: Option<u64>) -> Visit {
    let (fingerprint, ip, user_agent) = visitor(person);
    Visit {
        id: VisitId::new(id).unwrap(),
        at: at(s),
        ad: AdParameters {
            fbclid: ad.map(|_| format!("IwAR{s}")),
            ad: ad.map(|ad| AdId::new((1_000 + ad).to_string()).unwrap()),
            ..AdParameters::default()
        },
        has_consent: true,
        fingerprint: Some(fingerprint),
        ip: Some(ip),
        user_agent: Some(user_agent),
    }
}

/// Lets the server look over what was written, as it does by itself within a minute.
async fn look_over(url: &str) {
    if url.starts_with("postgres") {
        let mut conn = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql("vacuum analyze")
            .execute(&mut conn)
            .await
            .unwrap();
    }
}

struct World {
    home: Home,
    asked: Vec<Asked>,
    model: Model,
    placements: Placements,
    rules: AttributionRules,
}

impl World {
    fn new(Case(backend, mix): Case) -> Self {
        let home = Home::new(backend);
        let store = home.store.clone();
        let clicks = (0..CLICKS).map(|n| visit(format!("c{n}"), n * EVERY_S, n, Some(n % 40)));
        let mut forms = Vec::new();
        let mut contacts = Vec::new();
        let mut asked = Vec::new();
        for n in 0..CONVERSIONS {
            // Spread over the last three weeks; the person of a click some hours before.
            let click = CLICKS * 3 / 10 + n * (CLICKS * 7 / 10 / CONVERSIONS);
            let s = click * EVERY_S + 3_600 * (1 + n % 20);
            let kind = match mix {
                Mix::Usual => n % 8,
                Mix::WithoutIds => 7,
            };
            let mut facts = ContactFacts::default();
            match kind {
                0..=3 => facts.roasd_click_id = Some(format!("c{click}")),
                4 | 5 => facts.facebook_click_id = Some(format!("IwAR{}", click * EVERY_S)),
                _ => {
                    forms.push(visit(format!("f{n}"), s, click, None));
                    facts.roasd_click_id = Some(format!("f{n}"));
                }
            }
            let id = ContactId::new(n.to_string()).unwrap();
            contacts.push(Contact {
                id: id.clone(),
                facts,
                updated_at: at(s),
            });
            asked.push(Asked {
                deal: DealId::new(n.to_string()).unwrap(),
                at: at(s),
                contacts: vec![id],
            });
        }
        let rules = AttributionRules::default();
        let placements = Placements::default();
        let model = home.runtime.block_on(async {
            let mut running = tokio::task::JoinSet::new();
            for visit in clicks.chain(forms) {
                while running.len() > 2_000 {
                    running.join_next().await;
                }
                let store = store.clone();
                running.spawn(async move { store.record_visit(&tenant(), &visit).await.unwrap() });
            }
            running.join_all().await;
            let now = at(CLICKS * EVERY_S);
            store
                .record_contacts(&tenant(), &contacts, now)
                .await
                .unwrap();
            let store = store.as_ref();
            evidence::learn(store, &tenant(), &placements, &rules, now)
                .await
                .unwrap()
                .model
        });
        home.runtime.block_on(look_over(&home.url));
        Self {
            home,
            asked,
            model,
            placements,
            rules,
        }
    }

    fn attribute_all(&self) -> usize {
        self.home.runtime.block_on(async {
            let mut credited = 0;
            for batch in self.asked.chunks(BATCH) {
                let gathered = evidence::gather(
                    self.home.store.as_ref(),
                    &tenant(),
                    batch,
                    &self.placements,
                    &self.rules,
                    ByDevice::WhereNoneIsNamed,
                )
                .await
                .unwrap();
                for (conversion, found) in &gathered {
                    let verdict = attribution::attribute(
                        conversion,
                        found,
                        &self.rules,
                        &self.model,
                        conversion.at,
                    );
                    credited += usize::from(verdict.attribution.is_some());
                }
            }
            credited
        })
    }
}

#[divan::bench(args = cases(), sample_count = 5, sample_size = 1)]
fn conversions(bencher: divan::Bencher<'_, '_>, case: Case) {
    let world = World::new(case);
    bencher
        .counter(ItemsCount::new(CONVERSIONS))
        .bench_local(|| world.attribute_all());
}
