//! The predecessor's endpoints about like ads: vectors that callers bring, and texts.

use roasd::domain::api_token::Scope;
use roasd::domain::ids::AdId;
use roasd::domain::money::{Currency, Money};
use roasd::domain::time;
use roasd::store::winners::PastAd;
use roasd::vendors::embedder::Embedder as _;
use roasd::vendors::embedder::lexical::Lexical;
use serde_json::{Value, json};

use super::{World, on_both_stores, tenant};

on_both_stores! {
    vectors_are_brought_and_found,
    vectors_that_cannot_be_used_are_refused,
    texts_find_past_winners,
}

const ADD: &str = "rag/add-winner";
const FIND: &str = "rag/find-similar";
const STATS: &str = "rag/stats";

fn names(found: &Value) -> Vec<&str> {
    let matches = found["matches"].as_array().unwrap().iter();
    matches.map(|one| one["ad_id"].as_str().unwrap()).collect()
}

/// How like the first match is.
fn likeness(found: &Value) -> f64 {
    found["matches"][0]["similarity"].as_f64().unwrap()
}

async fn vectors_are_brought_and_found(world: World) {
    let token = world
        .token(Some("gym"), &[Scope::Ingest, Scope::Read])
        .await;
    let add = async |ad: &str, vector: Value, metadata: Value| {
        let body = json!({ "ad_id": ad, "embedding": vector, "metadata": metadata });
        world.ml(ADD, &token, &body).await
    };
    let find = async |body: Value| world.ml(FIND, &token, &body).await;
    assert!(names(&find(json!({ "embedding": [1, 0, 0] })).await).is_empty());

    let first = add(
        "w1",
        json!([3, 0, 0]),
        json!({ "hook": "trial", "ctr": 0.05 }),
    )
    .await;
    assert_eq!(
        first,
        json!({ "status": "ok", "ad_id": "w1", "total_winners": 1 })
    );
    add("w2", json!([0.0, 1e-200, 0.0]), Value::Null).await;
    let third = add("w3", json!([1, 1, 0]), json!({})).await;
    assert_eq!(third["total_winners"], 3);

    let found = find(json!({ "query_embedding": [10, 1, 0], "k": 2 })).await;
    assert_eq!(names(&found), ["w1", "w3"], "{found}");
    let nearest = &found["matches"][0];
    assert_eq!(nearest["metadata"], json!({ "hook": "trial", "ctr": 0.05 }));
    let cosine = likeness(&found);
    assert!((cosine - 10.0 / 101_f64.sqrt()).abs() < 1e-6, "{cosine}");
    let opposite = find(json!({ "embedding": [-1, 0, 0] })).await;
    assert_eq!(names(&opposite), ["w2", "w3", "w1"]);
    assert_eq!(opposite["matches"][2]["similarity"], -1.0);

    // A newer vector takes the place of the ad's older one, however often.
    for _ in 0..70 {
        let again = add("w1", json!([0, 0, 2]), json!({ "hook": "coach" })).await;
        assert_eq!(again["total_winners"], 3);
        let found = find(json!({ "embedding": [0, 0, 1], "k": 1 })).await;
        assert_eq!(names(&found), ["w1"]);
        assert_eq!(found["matches"][0]["metadata"]["hook"], "coach");
    }
    let stats = world.ml(STATS, &token, &json!({})).await;
    assert_eq!(stats["tenant_id"], "gym");
    assert_eq!(
        (&stats["total_winners"], &stats["dimension"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(stats["room"], 20_000);

    // Another tenant has a space of its own, of another length.
    let all = world.token(None, &[Scope::Ingest, Scope::Read]).await;
    let body = json!({ "tenant_id": "spa", "ad_id": "w1", "embedding": [1, 2] });
    assert_eq!(world.ml(ADD, &all, &body).await["total_winners"], 1);
    let body = json!({ "tenant_id": "spa", "embedding": [1, 2] });
    assert_eq!(names(&world.ml(FIND, &all, &body).await), ["w1"]);
    // What stands alone may be brought anew in another length.
    let body = json!({ "tenant_id": "spa", "ad_id": "w1", "embedding": [1, 2, 3, 4] });
    world.ml(ADD, &all, &body).await;
    let body = json!({ "tenant_id": "spa", "embedding": [1, 2, 3, 4] });
    assert!(likeness(&world.ml(FIND, &all, &body).await) > 0.999_999);
}

async fn vectors_that_cannot_be_used_are_refused(world: World) {
    let token = world
        .token(Some("gym"), &[Scope::Ingest, Scope::Read])
        .await;
    let body = json!({ "ad_id": "w1", "embedding": [1, 0, 0] });
    world.ml(ADD, &token, &body).await;
    world
        .ml(
            ADD,
            &token,
            &json!({ "ad_id": "w2", "embedding": [0, 1, 0] }),
        )
        .await;
    for (body, word) in [
        ("", "EOF"),
        (r#"{"ad_id":"x"}"#, "embedding"),
        (r#"{"ad_id":"x","embedding":[]}"#, "no numbers"),
        (r#"{"ad_id":"x","embedding":[0,0,-0.0]}"#, "zero"),
        (r#"{"ad_id":"x","embedding":[1,2]}"#, "have 3"),
        (r#"{"ad_id":"w1","embedding":[1,2]}"#, "have 3"),
        (r#"{"ad_id":"x","embedding":[1,2,NaN]}"#, "openapi"),
        (r#"{"ad_id":"x","embedding":[1,2,1e999]}"#, "openapi"),
        (r#"{"ad_id":"x","embedding":[1,2,null]}"#, "openapi"),
        (r#"{"ad_id":"x","embedding":[1,2,"3"]}"#, "openapi"),
        (r#"{"ad_id":"","embedding":[1,2,3]}"#, "ad_id"),
        (
            r#"{"ad_id":"x","embedding":[1,2,3],"metadata":[1]}"#,
            "openapi",
        ),
    ] {
        let detail = world.ml_problem(ADD, &token, body, 422).await;
        assert!(detail.contains(word), "{body}: {detail}");
    }
    let long =
        json!({ "ad_id": "x", "embedding": [1, 2, 3], "metadata": { "a": "b".repeat(5_000) } });
    let detail = world.ml_problem(ADD, &token, &long.to_string(), 422).await;
    assert!(detail.contains("metadata"), "{detail}");
    let wide = json!({ "ad_id": "x", "embedding": vec![1; 8_193] });
    let detail = world.ml_problem(ADD, &token, &wide.to_string(), 422).await;
    assert!(detail.contains("8192"), "{detail}");
    for (body, word) in [
        (r#"{"embedding":[1,2]}"#, "have 3"),
        (r#"{"embedding":[0,0,0]}"#, "zero"),
        (r#"{"query_embedding":[1e999,0,0]}"#, "openapi"),
        (r#"{"embedding":[1,2,3],"text":"a trial"}"#, "one of"),
        (
            r#"{"embedding":[1,2,3],"query_embedding":[1,2,3]}"#,
            "one of",
        ),
        ("{}", "one of"),
        (r#"{"text":"💪 !!"}"#, "no word"),
        (r#"{"embedding":[1,2,3],"k":0}"#, "from 1 to 100"),
        (r#"{"embedding":[1,2,3],"k":101}"#, "from 1 to 100"),
        (r#"{"embedding":[1,2,3],"k":-1}"#, "openapi"),
    ] {
        let detail = world.ml_problem(FIND, &token, body, 422).await;
        assert!(detail.contains(word), "{body}: {detail}");
    }
    let endless = json!({ "text": "word ".repeat(4_000) }).to_string();
    let detail = world.ml_problem(FIND, &token, &endless, 422).await;
    assert!(detail.contains("text"), "{detail}");
    let stats = world.ml(STATS, &token, &json!({})).await;
    assert_eq!(stats["total_winners"], 2, "nothing was kept");

    let reads = world.token(Some("gym"), &[Scope::Read]).await;
    world.ml_problem(ADD, &reads, &body.to_string(), 403).await;
    let brings = world.token(Some("gym"), &[Scope::Ingest]).await;
    world
        .ml_problem(FIND, &brings, &body.to_string(), 403)
        .await;
}

fn past(ad: &str, text: &str, is_winner: bool) -> PastAd {
    let usd = |main: i64| Money::from_minor(main * 100, Currency::USD);
    PastAd {
        ad: AdId::new(ad).unwrap(),
        name: format!("Ad {ad}"),
        text: text.to_owned(),
        format: "video".to_owned(),
        call_to_action: "SIGN_UP".to_owned(),
        theme: String::new(),
        made_at: None,
        model: Lexical.model().to_owned(),
        vector: Lexical.embed(text).unwrap(),
        impressions: 10_000,
        clicks: 400,
        spend: usd(100),
        pipeline: usd(350),
        is_winner,
        is_mature: true,
        is_by_hand: false,
        is_left_out: false,
        updated_at: time::from_seconds(1_790_000_000),
    }
}

async fn texts_find_past_winners(world: World) {
    let token = world
        .token(Some("gym"), &[Scope::Ingest, Scope::Read])
        .await;
    let (store, gym) = (&world.store, tenant("gym"));
    let ads = [
        past("t1", "Free trial week at our gym", true),
        past("t2", "A free week, no contract", true),
        past("t3", "Free trial week for you", false),
        past("t4", "Free trial week for all", true),
    ];
    store.record_past_ads(&gym, &ads).await.unwrap();
    assert!(store.leave_out(&gym, &ads[3].ad, true).await.unwrap());
    // A vector that is brought is found by no text, whatever it is called.
    let body = json!({ "ad_id": "t9", "embedding": Lexical.embed("Free trial week").unwrap() });
    world.ml(ADD, &token, &body).await;

    let found = world
        .ml(FIND, &token, &json!({ "text": "free trial week" }))
        .await;
    assert_eq!(
        names(&found),
        ["t1", "t2"],
        "no loser, none that is left out"
    );
    let about = &found["matches"][0]["metadata"];
    assert_eq!(about["text"], "Free trial week at our gym");
    assert_eq!(
        (&about["ctr"], &about["pipeline_roas"]),
        (&json!(0.04), &json!(3.5))
    );
    let like = likeness(&found);
    assert!(like > 0.3 && like < 0.999, "{like}");
    let stats = world.ml(STATS, &token, &json!({})).await;
    assert_eq!(
        stats["past_ads"],
        json!({ "total": 4, "winners": 2, "losers": 1, "left_out": 1, "model": "lexical-1", "dimension": 768 })
    );

    // A minute later new winners are found.
    let more = [past("t0", "Free trial week", true)];
    store.record_past_ads(&gym, &more).await.unwrap();
    world.clock.advance(time::minutes(2)).await;
    let found = world
        .ml(FIND, &token, &json!({ "text": "free trial week", "k": 1 }))
        .await;
    assert_eq!(names(&found), ["t0"]);
    assert!(likeness(&found) > 0.999_999);
}
