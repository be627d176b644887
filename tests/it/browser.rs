//! The script of landing pages in a real browser, on pages of another origin, with the daemon's own
//! HTTP and a store behind it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{RawForm, State};
use axum::http::{HeaderName, Uri, header};
use axum::response::Html;
use axum::routing::{get, post};
use roasd::domain::ids::{TenantId, VisitId};
use roasd::domain::visit::{Visit, query_pairs};
use roasd::http::{FormFields, HttpSettings};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::http_api::World;
use crate::support::browser::{Browser, until};

/// A page's own head: what goes wrong on it is told.
const HEAD: &str = "<!doctype html><meta charset=utf-8><title>Gym</title><script>
    window.errors = [];
    addEventListener('error', e => errors.push(e.message));
    addEventListener('unhandledrejection', e => errors.push('' + e.reason));
    </script>";
const FORM: &str = "<form method=post action=/sent><input type=hidden name=roasd_click_id>
    <input type=hidden name=ad_id><input type=hidden name=0-1/campaign_id>
    <input type=hidden name=adset_id value=own><input name=utm_content>
    <button>Send</button></form>";
const AD: &str =
    "?utm_source=fb&utm_content=120001&utm_campaign=77&fbclid=AbC_d-E&email=a%40b.example";
const CLICK_ID: &str = "document.querySelector('[name=roasd_click_id]').value";

/// What the page server knows.
#[derive(Clone)]
struct Site {
    daemon: String,
    sent: Arc<Mutex<Vec<String>>>,
}

/// A daemon, a landing site and a browser that looks at it.
struct Visitor {
    world: World,
    site: String,
    sent: Arc<Mutex<Vec<String>>>,
    browser: Browser,
}

/// The page of a path: what its head has before roasd's tag, and the attributes of that tag.
async fn page(
    State(site): State<Site>,
    uri: Uri,
) -> ([(HeaderName, &'static str); 2], Html<String>) {
    let daemon = &site.daemon;
    let mut policy = "default-src * 'unsafe-inline'";
    let mut before = "";
    let mut attributes = "";
    let mut times = 1;
    let mut loading = "async";
    match uri.path() {
        "/required" => attributes = "data-consent=required",
        "/given" => attributes = "data-consent=given",
        "/early" => before = "window.roasd = { consented: true };",
        "/gpc" => {
            before = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true });";
            attributes = "data-consent=given";
        }
        "/blocked" => policy = "default-src * 'unsafe-inline'; connect-src 'none'",
        "/hostile" => {
            before = "window.fetch = () => { throw new Error('blocked'); };
                navigator.sendBeacon = undefined;
                Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } });
                Object.freeze(history); window.MutationObserver = undefined;";
            attributes = "data-consent=given";
            // The script runs before there is a form, and nothing tells it of the form.
            loading = "";
        }
        "/beacon" => before = "window.fetch = () => Promise.reject(new Error('blocked'));",
        "/twice" => times = 2,
        _ => {}
    }
    let tags =
        format!("<script {loading} src=\"{daemon}/t/gym.js\" {attributes}></script>").repeat(times);
    let html = format!("{HEAD}<script>{before}</script>{tags}<body>{FORM}<div id=app></div>");
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(html))
}

async fn sent(State(site): State<Site>, RawForm(body): RawForm) -> Html<&'static str> {
    let body = String::from_utf8_lossy(&body).into_owned();
    site.sent.lock().unwrap().push(body);
    Html("<title>Thanks</title>")
}

impl Visitor {
    async fn new() -> Self {
        let world = World::new().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = format!("http://{}", listener.local_addr().unwrap());
        let state = Site {
            daemon: format!("http://{}", world.address),
            sent: Arc::default(),
        };
        let sent_to = state.sent.clone();
        let router = Router::new()
            .route("/sent", post(sent))
            .fallback(get(page))
            .with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut settings = HttpSettings::clone(&world.settings.load());
        for entry in settings.tenants.values_mut() {
            entry.click_origins = vec![site.clone()];
            entry.form_fields = FormFields {
                click_id: "gym_visit".to_owned(),
                copied: vec![
                    ("ad_id".to_owned(), vec!["ad_id", "utm_content"]),
                    ("adset_id".to_owned(), vec!["adset_id", "utm_term"]),
                    (
                        "campaign_id".to_owned(),
                        vec!["campaign_id", "utm_campaign"],
                    ),
                    ("utm_content".to_owned(), vec!["utm_content"]),
                ],
            };
        }
        world.settings.store(Arc::new(settings));
        Self {
            world,
            site,
            sent: sent_to,
            browser: Browser::start().await,
        }
    }

    async fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.site)).await;
    }

    /// The visit's id that the page's form has.
    async fn click_id(&self) -> String {
        self.browser.until(&format!("{CLICK_ID} != ''")).await;
        let id = self.browser.value(CLICK_ID).await;
        id.as_str().unwrap().to_owned()
    }

    /// The row of a visit, once it is there.
    async fn row(&self, id: &str) -> Visit {
        let tenant = TenantId::new("gym").unwrap();
        let id = VisitId::new(id).unwrap();
        let find = async || self.world.store.visit(&tenant, &id).await.unwrap();
        until("the visit is in the store", async || find().await.is_some()).await;
        find().await.unwrap()
    }

    /// All rows of visits.
    async fn rows(&self) -> i64 {
        let url = format!("sqlite://{}", self.world.database().display());
        let mut store = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query_scalar("select count(*) from click_tracking")
            .fetch_one(&mut store)
            .await
            .unwrap()
    }

    /// What the page complained of.
    async fn errors(&self) -> Value {
        self.browser.value("window.errors").await
    }

    /// Whether the browser keeps anything of us.
    async fn is_nothing_kept(&self) -> bool {
        let kept = "localStorage.length + sessionStorage.length + document.cookie.length";
        self.browser.value(kept).await == json!(0)
    }

    /// Sends the page's form; what arrived.
    async fn send_form(&self) -> Vec<(String, String)> {
        let before = self.sent.lock().unwrap().len();
        self.browser
            .value("document.querySelector('button').click()")
            .await;
        until("the form arrived", async || {
            self.sent.lock().unwrap().len() > before
        })
        .await;
        let body = self.sent.lock().unwrap().last().unwrap().clone();
        query_pairs(&format!("?{body}"))
    }
}

fn field<'f>(form: &'f [(String, String)], name: &str) -> &'f str {
    let found = form.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visit_from_an_ad_reaches_the_store_and_every_form() {
    let visitor = Visitor::new().await;
    let Visitor { browser, .. } = &visitor;
    visitor.open(&format!("/{AD}")).await;
    let id = visitor.click_id().await;
    let visit = visitor.row(&id).await;
    assert_eq!(visit.ad.ad.as_ref().map(|ad| ad.as_str()), Some("120001"));
    assert_eq!(visit.ad.campaign.as_ref().map(|c| c.as_str()), Some("77"));
    assert_eq!(visit.ad.fbclid.as_deref(), Some("AbC_d-E"));
    assert!(!visit.has_consent && visit.ip.is_none() && visit.fingerprint.is_none());
    assert!(visitor.is_nothing_kept().await, "nobody consented yet");

    // A form that the app adds later, with the fields of the configuration, and one in a next view.
    let add = |html: &str| format!("void (document.getElementById('app').innerHTML = '{html}')");
    let later = "<form><input type=hidden name=gym_visit><input name=0-1/roasd_click_id></form>";
    browser.value(&add(later)).await;
    browser
        .until(&format!(
            "document.querySelector('[name=gym_visit]').value == '{id}'"
        ))
        .await;
    let typed = "document.querySelector('[name=\"0-1/roasd_click_id\"]').value";
    browser.until(&format!("{typed} == '{id}'")).await;
    browser
        .value(&format!(
            "history.pushState({{}}, '', '/next'), {}",
            add(later)
        ))
        .await;
    browser
        .until(&format!(
            "document.querySelector('[name=gym_visit]').value == '{id}'"
        ))
        .await;
    assert_eq!(visitor.rows().await, 1, "a next view is no next visit");

    // With consent the same visit gets its hashes, and the browser remembers it.
    browser.value("roasd.consent(true)").await;
    let recognised = async || visitor.row(&id).await.fingerprint.is_some();
    until("the consent is taken over", recognised).await;
    let visit = visitor.row(&id).await;
    assert!(visit.has_consent && visit.ip.is_some() && visit.user_agent.is_some());
    let form = visitor.send_form().await;
    assert_eq!(field(&form, "roasd_click_id"), id);
    assert_eq!(field(&form, "ad_id"), "120001");
    assert_eq!(field(&form, "0-1/campaign_id"), "77");
    assert_eq!(field(&form, "adset_id"), "own", "what is filled stays");
    assert_eq!(
        field(&form, "utm_content"),
        "",
        "a field that people see is theirs"
    );

    // Days later, from nowhere: the ad's visit is what a form carries.
    visitor.open("/given").await;
    assert_eq!(visitor.click_id().await, id);
    assert_eq!(visitor.rows().await, 1);
    // A click on another ad, in the middle of an app.
    browser
        .value("history.pushState({}, '', '/?ad_id=120002')")
        .await;
    browser.until(&format!("{CLICK_ID} != '{id}'")).await;
    let second = visitor.click_id().await;
    let visit = visitor.row(&second).await;
    assert_eq!(visit.ad.ad.as_ref().map(|ad| ad.as_str()), Some("120002"));
    // And a no, which takes back what was given.
    browser.value("roasd.consent(false)").await;
    let forgotten = async || visitor.row(&second).await.ip.is_none();
    until("the no is taken over", forgotten).await;
    assert!(visitor.is_nothing_kept().await);
    assert_eq!(browser.value(CLICK_ID).await, json!(""));
    assert_eq!(visitor.errors().await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_or_kept_before_a_consent_that_is_required() {
    let visitor = Visitor::new().await;
    let Visitor { browser, .. } = &visitor;
    visitor.open(&format!("/required{AD}")).await;
    browser.until("!!window.roasd").await;
    // Occasions on which it would have: a new form, a new view, a no.
    let occasions = "document.getElementById('app').innerHTML = '<input name=roasd_click_id>',
        history.pushState({}, '', '/required?ad_id=5'), roasd.consent(false)";
    browser.value(occasions).await;
    let asked = "performance.getEntriesByType('resource').some(e => e.name.endsWith('/click'))";
    // Twice the time the script waits for a page to settle.
    browser
        .value("new Promise(done => setTimeout(done, 50))")
        .await;
    assert_eq!(browser.value(asked).await, json!(false));
    assert_eq!(browser.value(CLICK_ID).await, json!(""));
    assert!(visitor.is_nothing_kept().await);

    // A browser that says no for all sites is not asked again.
    visitor.open(&format!("/gpc{AD}")).await;
    browser.until("!!window.roasd").await;
    browser.value("roasd.consent(true)").await;
    assert_eq!(browser.value(asked).await, json!(false));
    assert_eq!(browser.value(CLICK_ID).await, json!(""));
    assert!(visitor.is_nothing_kept().await);

    // With the consent all of it is done; so the one row is the first that ever was.
    visitor.open(&format!("/required{AD}")).await;
    browser.until("!!window.roasd").await;
    browser.value("roasd.consent(true)").await;
    let id = visitor.click_id().await;
    assert!(visitor.row(&id).await.fingerprint.is_some());
    assert_eq!(visitor.rows().await, 1);

    // A consent manager that is faster than the script; the same ad again is the same visit.
    visitor.open(&format!("/early{AD}")).await;
    assert_eq!(visitor.click_id().await, id);
    // The visitor who came by no ad is recorded too.
    browser.value("localStorage.clear()").await;
    visitor.open("/early").await;
    let plain = visitor.click_id().await;
    let visit = visitor.row(&plain).await;
    assert!(!visit.ad.is_from_ad() && visit.has_consent);
    assert!(
        visitor.is_nothing_kept().await,
        "only an ad's visit is worth remembering"
    );
    assert_eq!(visitor.rows().await, 2);
    assert_eq!(visitor.errors().await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_works_whatever_is_blocked() {
    let visitor = Visitor::new().await;
    let Visitor { browser, .. } = &visitor;
    for page in ["/blocked", "/hostile"] {
        visitor.open(&format!("{page}{AD}")).await;
        let id = visitor.click_id().await;
        browser.value("roasd.consent(true)").await;
        browser.value("history.pushState({}, '', '?ad_id=6')").await;
        assert_eq!(visitor.errors().await, json!([]), "{page}");
        let form = visitor.send_form().await;
        let sent = field(&form, "roasd_click_id");
        assert_eq!(sent.len(), 32, "{page}: {id}");
    }
    assert_eq!(visitor.rows().await, 0, "nothing got through");
    // Where one road is blocked the other is taken.
    visitor.open(&format!("/beacon{AD}")).await;
    let id = visitor.click_id().await;
    visitor.row(&id).await;
    // A page that has the tag twice makes one visit.
    visitor.open("/twice?ad_id=9").await;
    let id = visitor.click_id().await;
    visitor.row(&id).await;
    assert_eq!(visitor.rows().await, 2);
    // A page of somebody else's: it works, and its visitors are none of ours.
    let mut settings = HttpSettings::clone(&visitor.world.settings.load());
    for entry in settings.tenants.values_mut() {
        entry.click_origins.clear();
    }
    visitor.world.settings.store(Arc::new(settings));
    visitor.open(&format!("/{AD}")).await;
    visitor.click_id().await;
    assert_eq!(visitor.errors().await, json!([]));
    let form = visitor.send_form().await;
    assert_eq!(field(&form, "ad_id"), "120001");
    assert_eq!(visitor.rows().await, 2);
}
