//! The API over real sockets, on both stores: every answer is held against `/openapi.json`.

mod like_ads;
mod predecessor;
mod reads;
mod schema;
mod tokens;
mod writes;

use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::Method;
use roasd::actors::handle::{LikeAds, Reported};
use roasd::clock::{Clock, SteppedClock};
use roasd::domain::api_token::{self, ApiToken, Scope};
use roasd::domain::ids::TenantId;
use roasd::domain::keyed_hash::KeyedHasher;
use roasd::domain::time;
use roasd::http::{
    self, ApiLimits, ClickLimits, GateRoom, HttpParts, HttpSettings, HttpState, TenantHttp,
};
use roasd::store::Store;
use roasd::telemetry::Metrics;
use roasd::vendors::embedder::lexical::Lexical;
use serde_json::Value;

use crate::http_api::{FakeTree, Setup, entry, running};
use crate::support::postgres::Database;

/// Runs tests on each store.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::api::World::on_sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::api::World::on_postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_both_stores;

fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

/// A daemon's HTTP without its actors, for the tenants `gym` and `spa`, with the portals 33 and 35.
struct World {
    store: Arc<dyn Store>,
    clock: SteppedClock,
    tree: Arc<FakeTree>,
    settings: Arc<ArcSwap<HttpSettings>>,
    client: reqwest::Client,
    address: SocketAddr,
    made: std::sync::atomic::AtomicU8,
    schema: Value,
    _home: Box<dyn Any>,
}

/// What was answered.
struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// Asserts that this is a problem document of that status, and returns its detail.
    #[track_caller]
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl World {
    async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("roasd.db").display());
        let store = roasd::store::open(&url).await.unwrap();
        Self::over(store, Box::new(folder)).await
    }

    async fn on_postgres() -> Self {
        let database = Database::migrated().await;
        let store = roasd::store::open(database.url()).await.unwrap();
        Self::over(store, Box::new(database)).await
    }

    async fn over(store: Arc<dyn Store>, home: Box<dyn Any>) -> Self {
        let clock = SteppedClock::new(time::from_seconds(1_790_000_000));
        let setup = Setup::default();
        let tenants: BTreeMap<TenantId, TenantHttp> = [("gym", 33), ("spa", 35)]
            .map(|(id, portal)| (tenant(id), entry(portal, None, &setup)))
            .into();
        let tree = Arc::new(FakeTree::default());
        for id in tenants.keys() {
            store
                .ensure_tenant(id, id.as_str(), clock.now())
                .await
                .unwrap();
            tree.health.lock().unwrap().insert(id.clone(), running());
        }
        let settings = Arc::new(ArcSwap::from_pointee(HttpSettings {
            tenants,
            clicks: ClickLimits::default(),
            api: ApiLimits {
                per_token_per_second: 10_000,
                ..ApiLimits::default()
            },
            ..HttpSettings::default()
        }));
        let state = HttpState::new(HttpParts {
            reported: Reported::new(store.clone(), Arc::new(clock.clone())),
            like: LikeAds::new(store.clone(), Arc::new(clock.clone()), Arc::new(Lexical)),
            store: store.clone(),
            clock: Arc::new(clock.clone()),
            tree: tree.clone(),
            settings: settings.clone(),
            hasher: KeyedHasher::new(b"the key of the keyed hashes"),
            gate: Arc::new(|_| GateRoom::default()),
            pause_file: Arc::new(|| false),
            metrics: Metrics::install().unwrap(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener, state, std::future::pending()));
        let client = roasd::vendors::http_client(Duration::from_secs(20)).unwrap();
        let schema = client
            .get(format!("http://{address}/openapi.json"))
            .send()
            .await
            .unwrap();
        Self {
            store,
            clock,
            tree,
            settings,
            client,
            address,
            made: std::sync::atomic::AtomicU8::new(0),
            schema: schema.json().await.unwrap(),
            _home: home,
        }
    }

    /// The text of a new token.
    async fn token(&self, of: Option<&str>, scopes: &[Scope]) -> String {
        self.keep(of, scopes, |_| {}).await.1
    }

    /// A new token that differs by `change`, and its text.
    async fn keep(
        &self,
        of: Option<&str>,
        scopes: &[Scope],
        change: impl FnOnce(&mut ApiToken),
    ) -> (ApiToken, String) {
        let byte = self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (id, text) = api_token::text_of(&[byte; 32], &[byte; 6]);
        let mut token = ApiToken {
            id,
            tenant: of.map(tenant),
            name: "a test".to_owned(),
            hash: api_token::hash(&text),
            scopes: scopes.iter().copied().collect(),
            created_at: self.clock.now(),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        };
        change(&mut token);
        self.store.create_token(&token).await.unwrap();
        (token, text)
    }

    async fn send(&self, method: Method, path: &str, token: &str, body: &str) -> Answer {
        let request = self
            .client
            .request(method, format!("http://{}{path}", self.address))
            .header("authorization", format!("Bearer {token}"))
            .body(body.to_owned());
        let answer = request.send().await.unwrap();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            text: answer.text().await.unwrap(),
        }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, token, "").await
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, token, &body.to_string())
            .await
    }

    /// Asks, and holds the answer against what the document says of the route `described`.
    async fn asked(
        &self,
        method: Method,
        described: &str,
        path: &str,
        token: &str,
        body: &str,
    ) -> Value {
        let verb = method.as_str().to_lowercase();
        let answer = self.send(method, path, token, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(answer.headers["content-type"], "application/json");
        let answer = answer.json();
        let route = &self.schema["paths"][described][&verb];
        let schema = &route["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{verb} {described} is not described");
        schema::check(&self.schema, schema, &answer, path);
        answer
    }
}
