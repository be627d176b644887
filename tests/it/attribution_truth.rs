//! What the real daemon credits, against what the sandbox knows: the ad whose click won each deal.

use std::fmt::Write as _;

use roasd::clock::Clock as _;
use roasd::domain::attribution::Method;
use roasd::domain::time::{self, Timestamp};
use roasd::sandbox::Credits;

use crate::support::{Setup, World, tenant};

const TENANTS: &[&str] = &["gym", "shop", "clinic"];
const DAYS: i64 = 5;

/// What a daemon that touches nothing credits in these days, compared with the truth, by tenant.
async fn credits(seed: u64) -> Vec<(&'static str, Credits)> {
    let setup = Setup {
        tenants: TENANTS,
        ..Setup::new(seed)
    };
    let world = setup
        .set("tenants.gym.autonomy", "observe")
        .set("tenants.shop.autonomy", "observe");
    let world = World::of(world).await;
    world.run_to(time::days(DAYS)).await;
    let mut all = Vec::new();
    for name in TENANTS {
        let id = tenant(name);
        let origins = world.sandbox().origins(&id, world.clock.now()).unwrap();
        let store = world.store();
        let deals = store.deals_since(&id, Timestamp::MIN).await.unwrap();
        let of = deals.iter().map(|d| (&d.deal.id, d.attribution.as_ref()));
        all.push((*name, origins.judge(of)));
    }
    world.finish().await;
    all
}

fn told(of: &str, credits: &Credits) -> String {
    let mut text = format!("{of}:");
    for method in [Method::UrlParam, Method::Fingerprint, Method::Probabilistic] {
        let layer = credits.by(method);
        let _ = write!(text, " {method} {} of {} right,", layer.right, layer.deals);
    }
    let (organic, claimed) = credits.organic();
    let _ = write!(
        text,
        " {} of {} unattributed are organic, {claimed} of {organic} organic deals are claimed",
        credits.unattributed_organic, credits.unattributed
    );
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn most_credits_are_right_and_few_organic_deals_are_claimed() {
    let by_tenant = credits(7).await;
    let sum = by_tenant
        .iter()
        .fold(Credits::default(), |sum, (_, credits)| sum.and(credits));
    let mut text: Vec<String> = by_tenant.iter().map(|(of, c)| told(of, c)).collect();
    text.push(told("together", &sum));
    let text = text.join("\n");
    println!("{text}");
    for (tenant, credits) in &by_tenant {
        let layer = credits.by(Method::UrlParam);
        assert!(layer.deals > 10, "{tenant} has little to go by\n{text}");
        assert_eq!(layer.right, layer.deals, "an id names its ad\n{text}");
    }
    let recognised = sum.fingerprint.deals + sum.probabilistic.deals;
    let right = sum.fingerprint.right + sum.probabilistic.right;
    assert!(recognised >= 12, "layers two and three are idle\n{text}");
    assert!(
        sum.fingerprint.precision().is_some_and(|p| p >= 0.65),
        "fingerprints are too often wrong\n{text}"
    );
    assert!(
        right as f64 >= 0.75 * recognised as f64,
        "recognition is too often wrong\n{text}"
    );
    let (organic, claimed) = sum.organic();
    assert!(organic > 25, "hardly any organic deals\n{text}");
    assert!(
        claimed as f64 <= 0.10 * organic as f64,
        "too many organic deals are claimed\n{text}"
    );
}
