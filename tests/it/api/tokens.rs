//! Who may ask what, and how often.

use roasd::domain::api_token::Scope;
use roasd::domain::time;
use roasd::http::{ApiLimits, HttpSettings};

use super::{World, on_both_stores};

const STATUS: &str = "/v1/tenants/gym/status";

on_both_stores! {
    a_token_is_needed,
    a_revoked_token_is_refused_within_two_seconds,
    a_token_is_for_its_tenant_and_scopes,
    the_last_use_is_noted_to_the_hour,
}

async fn a_token_is_needed(world: World) {
    let good = world.token(Some("gym"), &[Scope::Read]).await;
    let bare = format!("http://{}{STATUS}", world.address);
    let none = world.client.get(&bare).send().await.unwrap();
    assert_eq!(none.status(), 401);
    assert_eq!(none.headers()["www-authenticate"], "Bearer");
    let basic = world
        .client
        .get(&bare)
        .header("authorization", format!("Basic {good}"));
    assert_eq!(basic.send().await.unwrap().status(), 401);
    let mut wrong = good.clone();
    wrong.replace_range(60..61, "f");
    for bad in [
        "",
        "x",
        "roasd_",
        &wrong,
        &good.to_uppercase(),
        "roasd_aaaaaaaaaaaa_aa",
    ] {
        let detail = world.get(STATUS, bad).await.problem(401);
        assert!(detail.contains("roasd token"), "{detail}");
        assert!(!detail.contains(&good));
    }
    assert_eq!(world.get(STATUS, &good).await.status, 200);
    // What is no route needs none, and says nothing.
    world.get("/v1/nothing", &good).await.problem(404);
    let other = world.send(reqwest::Method::PUT, STATUS, &good, "").await;
    other.problem(405);
}

async fn a_revoked_token_is_refused_within_two_seconds(world: World) {
    let (token, text) = world.keep(Some("gym"), &[Scope::Read], |_| {}).await;
    assert_eq!(world.get(STATUS, &text).await.status, 200);
    world
        .store
        .revoke_token(&token.id, time::from_seconds(1_790_000_000))
        .await
        .unwrap();
    world.clock.advance(time::seconds(2)).await;
    world.get(STATUS, &text).await.problem(401);
    let expires = time::from_seconds(1_790_000_003);
    let limited = world.keep(Some("gym"), &[Scope::Read], |token| {
        token.expires_at = Some(expires);
    });
    let (_, text) = limited.await;
    assert_eq!(world.get(STATUS, &text).await.status, 200);
    // Also one that is remembered.
    world.clock.advance(time::seconds(1)).await;
    world.get(STATUS, &text).await.problem(401);
}

async fn a_token_is_for_its_tenant_and_scopes(world: World) {
    let gym = world.token(Some("gym"), &[Scope::Read]).await;
    let all = world.token(None, &[Scope::Read]).await;
    let admin = world.token(Some("gym"), &[Scope::Admin]).await;
    let ingest = world.token(Some("gym"), &[Scope::Ingest]).await;
    for path in [
        "/v1/tenants/spa/status",
        "/v1/tenants/nobody/status",
        "/v1/tenants/%F0%9F%8F%8B/status",
    ] {
        let detail = world.get(path, &gym).await.problem(403);
        assert!(detail.contains("another tenant"), "{path}: {detail}");
    }
    assert_eq!(world.get("/v1/tenants/spa/status", &all).await.status, 200);
    world
        .get("/v1/tenants/nobody/status", &all)
        .await
        .problem(404);
    let detail = world.get(STATUS, &ingest).await.problem(403);
    assert!(detail.contains("--scope read"), "{detail}");
    assert_eq!(world.get(STATUS, &admin).await.status, 200);
    let pause = world
        .post("/v1/tenants/gym/pause", &gym, &serde_json::json!({}))
        .await;
    pause.problem(403);
    let holds = world.store.holds(&super::tenant("gym")).await.unwrap();
    assert_eq!(holds.paused, None);
    let own = world.get("/v1/tenants", &gym).await.json();
    assert_eq!(own["tenants"].as_array().unwrap().len(), 1);
    let every = world.get("/v1/tenants", &all).await.json();
    assert_eq!(every["tenants"].as_array().unwrap().len(), 2);
}

async fn the_last_use_is_noted_to_the_hour(world: World) {
    let (token, text) = world.keep(None, &[Scope::Read], |_| {}).await;
    world.get(STATUS, &text).await;
    let hour = 1_790_000_000 - 1_790_000_000 % 3_600;
    let used = async || {
        world
            .store
            .token(&token.id)
            .await
            .unwrap()
            .unwrap()
            .last_used_at
    };
    assert_eq!(used().await, Some(time::from_seconds(hour)));
    world.clock.advance(time::minutes(90)).await;
    world.get(STATUS, &text).await;
    assert_eq!(used().await, Some(time::from_seconds(hour + 3_600)));
}

fn limit(world: &World, api: ApiLimits) {
    let settings = HttpSettings {
        api,
        ..HttpSettings::clone(&world.settings.load())
    };
    world.settings.store(settings.into());
}

#[tokio::test]
async fn who_asks_too_often_waits() {
    let world = World::on_sqlite().await;
    let token = world.token(None, &[Scope::Read]).await;
    let other = world.token(None, &[Scope::Read]).await;
    limit(
        &world,
        ApiLimits {
            per_token_per_second: 2,
            ..ApiLimits::default()
        },
    );
    for _ in 0..4 {
        assert_eq!(world.get(STATUS, &token).await.status, 200);
    }
    let answer = world.get(STATUS, &token).await;
    assert!(answer.problem(429).contains("api.per_token_per_second"));
    assert_eq!(answer.headers["retry-after"], "2");
    assert_eq!(
        world.get(STATUS, &other).await.status,
        200,
        "another's is its own"
    );
    world.clock.advance(time::seconds(2)).await;
    assert_eq!(world.get(STATUS, &token).await.status, 200);

    limit(
        &world,
        ApiLimits {
            refused_per_address_per_minute: 4,
            ..ApiLimits::default()
        },
    );
    for expected in [401, 401, 429] {
        world.get(STATUS, "roasd_wrong").await.problem(expected);
    }
    assert_eq!(
        world.get(STATUS, &token).await.status,
        200,
        "a good one is not hindered"
    );

    limit(
        &world,
        ApiLimits {
            per_address_per_minute: 4,
            ..ApiLimits::default()
        },
    );
    for expected in [200, 200, 429] {
        assert_eq!(world.get(STATUS, &token).await.status, expected);
    }
    let elsewhere = world
        .client
        .get(format!("http://{}{STATUS}", world.address))
        .header("authorization", format!("Bearer {token}"))
        .header("x-forwarded-for", "203.0.113.9");
    assert_eq!(elsewhere.send().await.unwrap().status(), 200);
}
