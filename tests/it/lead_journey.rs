//! Lead ads, the whole way: a form filled in at Meta, its webhook, the lead's read through the gate,
//! the contact and the deal in the CRM, and the credit of the right ad. And the way back: the person
//! asks to be forgotten.

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use roasd::clock::Clock as _;
use roasd::domain::attribution::Method;
use roasd::domain::ids::ContactId;
use roasd::domain::time::{self, Timestamp};
use roasd::sandbox::{Entry, Fault, FaultAction, Origins, Vendor};
use roasd::store::crm::CreditedDeal;
use serde_json::json;
use sqlx::Connection as _;

use crate::support::{Setup, World, tenant};

/// A gym all of whose leads come by forms at Meta.
async fn world() -> World {
    let mut setup = Setup::new(11);
    setup.vendors = |vendors| {
        vendors.weather.lost = 0.0;
        for tenant in &mut vendors.tenants {
            tenant.lead_forms = 1.0;
        }
    };
    World::of(setup).await
}

async fn deals(world: &World) -> Vec<CreditedDeal> {
    let store = world.store();
    let deals = store.deals_since(&tenant("gym"), Timestamp::MIN).await;
    deals.unwrap()
}

fn origins(world: &World) -> Origins {
    let now = world.clock.now();
    world.sandbox().origins(&tenant("gym"), now).unwrap()
}

async fn run_until_credited(world: &World, count: usize) {
    let is_so = async || {
        let deals = deals(world).await;
        deals
            .iter()
            .filter(|deal| deal.attribution.is_some())
            .count()
            >= count
    };
    world
        .run_until("credits", time::hours(1), time::days(3), is_so)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_form_credits_the_ad_that_showed_it() {
    let world = world().await;
    run_until_credited(&world, 8).await;
    let deals = deals(&world).await;
    let of = deals
        .iter()
        .map(|deal| (&deal.deal.id, deal.attribution.as_ref()));
    let credits = origins(&world).judge(of);
    let by_id = credits.by(Method::UrlParam);
    assert!(by_id.deals >= 8, "{credits:?}");
    assert_eq!(
        (by_id.right, by_id.organic),
        (by_id.deals, 0),
        "{credits:?}"
    );
    for deal in deals.iter().filter_map(|deal| deal.attribution.as_ref()) {
        assert_eq!(deal.method, Method::UrlParam);
        assert_eq!(deal.confidence, 1.0);
        assert!(deal.reason.contains("lead id"), "{}", deal.reason);
        assert!(deal.credit.ad_set.is_some() && deal.credit.campaign.is_some());
    }
    // Every lead was told once and read through the gate; nothing waits.
    let told = world
        .journal()
        .into_iter()
        .filter(|entry| matches!(entry, Entry::Delivered { id, .. } if id.starts_with("lead/")));
    assert!(told.count() >= 8);
    let now = world.clock.now();
    let waiting = world.store().requested_leads(&tenant("gym"), now, 10).await;
    assert!(waiting.unwrap().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_meta_did_not_get_round_to_is_asked_for_again() {
    let world = world().await;
    world.sandbox().add_fault(Fault {
        times: 0,
        ..Fault::next(Vendor::Meta, "GET", "field_data", FaultAction::NotRun)
    });
    let waiting = async || {
        let now = world.clock.now();
        let leads = world.store().requested_leads(&tenant("gym"), now, 10).await;
        leads.unwrap().len()
    };
    world
        .run_until("a lead", time::minutes(30), time::days(2), async || {
            waiting().await > 0
        })
        .await;
    world.run_for(time::hours(1)).await;
    assert!(waiting().await > 0, "it stays due");
    world.end_faults().await;
    world
        .run_until("its read", time::minutes(5), time::hours(1), async || {
            waiting().await == 0
        })
        .await;
    run_until_credited(&world, 1).await;
    world.finish().await;
}

/// What HubSpot sends when a contact is deleted for good, signed as it signs.
async fn forget(world: &World, contact: &ContactId) -> u16 {
    let spec = world.spec("gym");
    let millis = world.clock.now().as_millisecond();
    let body = json!([{"eventId": 1, "subscriptionId": 9, "portalId": spec.portal.0, "appId": 1,
        "occurredAt": millis, "subscriptionType": "contact.privacyDeletion", "attemptNumber": 0,
        "objectId": contact.as_str().parse::<u64>().unwrap()}])
    .to_string();
    let path = "/webhooks/hubspot";
    let secret = world.sandbox().config().client_secret.clone();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("POST{}{path}{body}{millis}", roasd::cli::demo::PUBLIC_URL).as_bytes());
    let signed = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
    let request = reqwest::Client::new()
        .post(format!("http://{}{path}", world.daemon().address()))
        .header("x-hubspot-signature-v3", signed)
        .header("x-hubspot-request-timestamp", millis.to_string())
        .body(body);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_asks_is_forgotten_and_the_money_stays() {
    let world = world().await;
    let (store, gym) = (world.store(), tenant("gym"));
    run_until_credited(&world, 3).await;
    let all = deals(&world).await;
    let credited = all.iter().find(|deal| deal.attribution.is_some()).unwrap();
    let (deal, contact) = (
        &credited.deal.id,
        credited.deal.contacts.last().unwrap().clone(),
    );
    let ledger = store.deal_ledger(&gym, deal).await.unwrap();

    assert_eq!(forget(&world, &contact).await, 204);
    let is_done = async || store.erasure(&gym, &contact).await.unwrap().is_some();
    world
        .run_until("the erasure", time::minutes(1), time::minutes(10), is_done)
        .await;
    // The CRM of the sandbox keeps the contact, as one would whose operator asked roasd alone: the
    // next full reads do not bring it back.
    store
        .request_deals(&gym, std::slice::from_ref(deal), world.clock.now())
        .await
        .unwrap();
    world.run_for(time::hours(5)).await;
    let receipt = store.erasure(&gym, &contact).await.unwrap().unwrap();
    assert_eq!((receipt.contacts, receipt.leads), (1, 1), "{receipt:?}");
    assert!(
        receipt.deals >= 1 && receipt.asked_by == "hubspot",
        "{receipt:?}"
    );
    let known = store
        .contacts(&gym, std::slice::from_ref(&contact))
        .await
        .unwrap();
    assert!(known.is_empty(), "{known:?}");
    let kept = store.deal(&gym, deal).await.unwrap().unwrap();
    assert_eq!(kept.deal.name, "");
    assert!(!kept.deal.contacts.contains(&contact));
    assert_eq!(
        kept.attribution.map(|a| a.credit),
        credited.attribution.clone().map(|a| a.credit)
    );
    let after = store.deal_ledger(&gym, deal).await.unwrap();
    assert_eq!(
        after[..ledger.len()],
        ledger[..],
        "what was earned stays earned"
    );

    // The proof: no byte of the database names the contact, but the receipt itself.
    let url = world.config().database_url();
    let mut file = sqlx::SqliteConnection::connect(url.expose()).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'",
    )
    .fetch_all(&mut file)
    .await
    .unwrap();
    for table in tables.iter().filter(|table| *table != "erasures") {
        let columns: Vec<String> = sqlx::query_scalar("select name from pragma_table_info($1)")
            .bind(table)
            .fetch_all(&mut file)
            .await
            .unwrap();
        for column in columns {
            let count = format!("select count(*) from {table} where instr({column}, $1) > 0");
            let named: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
                .bind(contact.as_str())
                .fetch_one(&mut file)
                .await
                .unwrap();
            assert_eq!(named, 0, "{table}.{column} names the contact");
        }
    }
    drop((file, store));
    world.finish().await;
}
