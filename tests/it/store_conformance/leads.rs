//! Leads of lead forms, and the erasure of a person.

use super::*;
use roasd::domain::deal::{Contact, ContactFacts};
use roasd::domain::ids::{ContactId, LeadId};
use roasd::domain::lead::Lead;
use roasd::domain::visit::KeyedHash;
use roasd::store::inbox::DeliveryOutcome;
use roasd::store::leads::LeadKeys;

fn id(text: &str) -> LeadId {
    LeadId::new(text).unwrap()
}

fn hash(text: &str) -> KeyedHash {
    KeyedHash(text.to_owned())
}

fn lead(text: &str) -> Lead {
    Lead {
        id: id(text),
        made_at: at(3),
        form: Some("5".to_owned()),
        ad: Some(ad("1")),
        ad_set: Some("2".parse().unwrap()),
        campaign: None,
        email: Some(hash("ana")),
        phone: Some(hash("555")),
    }
}

async fn ask(db: &Db, texts: &[&str], s: i64) {
    let ids: Vec<LeadId> = texts.iter().map(|text| id(text)).collect();
    db.request_leads(&acme(), &ids, at(s)).await.unwrap();
}

async fn due(db: &Db, s: i64) -> Vec<(String, u32)> {
    let due = db.requested_leads(&acme(), at(s), 10).await.unwrap();
    due.into_iter()
        .map(|lead| (lead.id.to_string(), lead.attempt))
        .collect()
}

async fn read(db: &Db, lead: &Lead) {
    ask(db, &[lead.id.as_str()], 1).await;
    db.record_lead(&acme(), lead).await.unwrap();
}

pub(super) async fn a_lead_is_asked_for_once(db: Db) {
    ask(&db, &["b"], 1).await;
    ask(&db, &["a", "b", "b"], 2).await;
    assert_eq!(
        due(&db, 2).await,
        [("b".to_owned(), 0), ("a".to_owned(), 0)]
    );
    assert_eq!(due(&db, 1).await.len(), 1, "the other is not due yet");
    db.record_lead(&acme(), &lead("a")).await.unwrap();
    ask(&db, &["a"], 3).await;
    assert_eq!(due(&db, 9).await, [("b".to_owned(), 0)]);
    // Nobody asked for it.
    db.record_lead(&acme(), &lead("c")).await.unwrap();
    let keys = LeadKeys {
        ids: vec![id("c")],
        ..LeadKeys::default()
    };
    assert!(db.leads(&acme(), &keys).await.unwrap().is_empty());
}

pub(super) async fn a_lead_that_is_put_off_comes_back_or_not(db: Db) {
    ask(&db, &["a"], 1).await;
    let put_off = async |until| {
        db.put_off_lead(&acme(), &id("a"), until, "no rights")
            .await
            .unwrap();
    };
    put_off(Some(at(5))).await;
    assert!(due(&db, 4).await.is_empty());
    assert_eq!(due(&db, 5).await, [("a".to_owned(), 1)]);
    put_off(None).await;
    ask(&db, &["a"], 6).await;
    assert!(due(&db, 99).await.is_empty(), "given up stays given up");
}

pub(super) async fn leads_are_found_by_each_key(db: Db) {
    for text in ["b", "a"] {
        read(&db, &lead(text)).await;
    }
    let other = Lead {
        email: None,
        phone: None,
        ad: None,
        ..lead("c")
    };
    read(&db, &other).await;
    ask(&db, &["d"], 1).await;
    let found = async |keys: LeadKeys| db.leads(&acme(), &keys).await.unwrap();
    let by_id = LeadKeys {
        ids: vec![id("c"), id("d"), id("e")],
        ..LeadKeys::default()
    };
    assert_eq!(
        found(by_id).await,
        [other],
        "one that was not read is not there"
    );
    let by_person = LeadKeys {
        emails: vec![hash("ana"), hash("nobody")],
        phones: vec![hash("555")],
        ..LeadKeys::default()
    };
    assert_eq!(found(by_person).await, [lead("a"), lead("b")]);
    assert!(found(LeadKeys::default()).await.is_empty());
    let keys = LeadKeys {
        emails: vec![hash("ana")],
        ..LeadKeys::default()
    };
    assert!(db.leads(&globex(), &keys).await.unwrap().is_empty());
}

fn person(contact: &str, facts: ContactFacts) -> Contact {
    Contact {
        id: contact.parse().unwrap(),
        facts,
        updated_at: at(0),
    }
}

pub(super) async fn a_lead_unsettles_the_deals_of_its_person(db: Db) {
    let of = |contact: &str| Deal {
        contacts: vec![contact.parse().unwrap()],
        ..deal(contact, "lead", 0)
    };
    let people = [
        (
            "by-id",
            ContactFacts {
                meta_lead_id: Some("44".to_owned()),
                ..Default::default()
            },
        ),
        (
            "by-mail",
            ContactFacts {
                email: Some(hash("ana")),
                ..Default::default()
            },
        ),
        (
            "by-phone",
            ContactFacts {
                phone: Some(hash("555")),
                ..Default::default()
            },
        ),
        (
            "other",
            ContactFacts {
                email: Some(hash("ben")),
                ..Default::default()
            },
        ),
    ];
    let contacts: Vec<Contact> = people.map(|(name, facts)| person(name, facts)).into();
    db.record_contacts(&acme(), &contacts, at(1)).await.unwrap();
    let known = db
        .contacts(&acme(), &["by-mail".parse().unwrap()])
        .await
        .unwrap();
    assert_eq!(known[0].facts.email, Some(hash("ana")));
    for contact in &contacts {
        crm::record(&db, &[of(contact.id.as_str())], 1).await;
    }
    crm::settle_all(&db, 2, None).await;
    read(&db, &lead("44")).await;
    let unsettled = crm::unsettled(&db, 3).await;
    let names: Vec<&str> = unsettled.iter().map(|(deal, _)| deal.as_str()).collect();
    assert_eq!(names, ["by-id", "by-mail", "by-phone"]);
}

/// A person with all there is: contact, deal, visits, lead and deliveries.
async fn ana(db: &Db) -> ContactId {
    let contact: ContactId = "77".parse().unwrap();
    let facts = ContactFacts {
        roasd_click_id: Some("v1".to_owned()),
        facebook_click_id: Some("IwAR1".to_owned()),
        first_url: Some("https://x.test/?email=ana".to_owned()),
        email: Some(hash("ana")),
        ..ContactFacts::default()
    };
    db.record_contacts(&acme(), &[person("77", facts)], at(1))
        .await
        .unwrap();
    let named = Deal {
        name: "Ana Adams".to_owned(),
        contacts: vec![contact.clone(), "78".parse().unwrap()],
        ..deal("d", "lead", 0)
    };
    crm::record(db, &[named], 1).await;
    for (visit, s) in [("v1", 0), ("v2", 1)] {
        db.record_visit(&acme(), &visits::visit(visit, s))
            .await
            .unwrap();
    }
    let mut stranger = visits::visit("v3", 2);
    stranger.ad.fbclid = Some("another".to_owned());
    db.record_visit(&acme(), &stranger).await.unwrap();
    read(db, &lead("44")).await;
    contact
}

pub(super) async fn an_erasure_takes_the_person_and_leaves_the_money(db: Db) {
    let contact = ana(&db).await;
    let a = acme();
    let keep = async |key: &str, body: &str| {
        let mut delivery = inbox::delivery(key);
        delivery.body = body.as_bytes().to_vec();
        db.append_delivery(&a, &delivery, at(1)).await.unwrap();
    };
    // So long that a store may keep them otherwise than they came.
    let others = r#"{"objectId":177},"#.repeat(200);
    keep("1", &format!(r#"[{others}{{"objectId":77}}]"#)).await;
    keep("2", &format!(r#"[{others}{{"objectId":177}}]"#)).await;
    keep("3", r#"[{"objectId":"77","odd":1}]"#).await;
    let claimed = db.claim_deliveries(&a, at(2), at(60), 9).await.unwrap();
    for row in &claimed[..2] {
        let settled = DeliveryOutcome::default();
        db.settle_delivery(&a, row.id, row.attempt, &settled, at(3))
            .await
            .unwrap();
    }
    db.quarantine_delivery(&a, claimed[2].id, claimed[2].attempt, "odd", at(3))
        .await
        .unwrap();
    let before = db.deal_ledger(&a, &deal_id("d")).await.unwrap();

    let receipt = db.erase_contact(&a, &contact, "ana", at(9)).await.unwrap();
    assert_eq!(
        (receipt.contact.clone(), receipt.at),
        (contact.clone(), at(9))
    );
    assert_eq!(receipt.asked_by, "ana");
    let counts = (
        receipt.contacts,
        receipt.deals,
        receipt.visits,
        receipt.leads,
        receipt.deliveries,
    );
    assert_eq!(counts, (1, 1, 2, 1, 2));

    assert!(
        db.contacts(&a, std::slice::from_ref(&contact))
            .await
            .unwrap()
            .is_empty()
    );
    let kept = db.deal(&a, &deal_id("d")).await.unwrap().unwrap().deal;
    assert_eq!(kept.name, "");
    assert_eq!(kept.contacts, ["78".parse().unwrap()]);
    assert_eq!(kept.history, deal("d", "lead", 0).history);
    assert_eq!(db.deal_ledger(&a, &deal_id("d")).await.unwrap(), before);
    for id in ["v1", "v2"] {
        let visit = db.visit(&a, &id.parse().unwrap()).await.unwrap().unwrap();
        assert!(
            !visit.has_consent && visit.ip.is_none() && visit.ad.fbclid.is_none(),
            "{id}"
        );
        assert_eq!(visit.ad.ad, Some(ad("1")), "what the ad did stays");
    }
    let other = db.visit(&a, &"v3".parse().unwrap()).await.unwrap().unwrap();
    assert!(other.has_consent && other.ad.fbclid.is_some());
    let keys = LeadKeys {
        emails: vec![hash("ana")],
        ..LeadKeys::default()
    };
    assert!(db.leads(&a, &keys).await.unwrap().is_empty());
    assert!(db.quarantined(None, 9).await.unwrap().is_empty());
    assert_eq!(
        db.erasure(&a, &contact).await.unwrap(),
        Some(receipt.clone())
    );
    assert_eq!(db.erasure(&globex(), &contact).await.unwrap(), None);

    // Again finds nothing new, and the receipt stays what it was.
    let again = db
        .erase_contact(&a, &contact, "somebody", at(10))
        .await
        .unwrap();
    let expected = roasd::store::privacy::Erasure {
        at: at(10),
        ..receipt
    };
    assert_eq!(again, expected);
}

pub(super) async fn who_was_erased_does_not_come_back(db: Db) {
    let contact = ana(&db).await;
    db.erase_contact(&acme(), &contact, "ana", at(9))
        .await
        .unwrap();
    crm::settle_all(&db, 9, None).await;
    // The CRM still has them, and tells so at the next read.
    let facts = ContactFacts {
        roasd_click_id: Some("v1".to_owned()),
        ..ContactFacts::default()
    };
    db.record_contacts(&acme(), &[person("77", facts)], at(11))
        .await
        .unwrap();
    let of = |contacts: &[&str]| Deal {
        name: "Ana Adams".to_owned(),
        contacts: contacts.iter().map(|id| id.parse().unwrap()).collect(),
        ..deal("d", "lead", 0)
    };
    // Also when the CRM has let go of the contact and kept the deal's name.
    for contacts in [&["77", "78"][..], &["78"]] {
        assert_eq!(crm::record(&db, &[of(contacts)], 12).await, 0);
        let kept = db.deal(&acme(), &deal_id("d")).await.unwrap().unwrap().deal;
        assert_eq!((kept.name.as_str(), kept.contacts.len()), ("", 1));
    }
    assert!(db.contacts(&acme(), &[contact]).await.unwrap().is_empty());
    assert!(crm::unsettled(&db, 13).await.is_empty());
}

pub(super) async fn a_person_is_found_by_address(db: Db) {
    let contact = ana(&db).await;
    let found = db.contacts_of(&acme(), &hash("ana")).await.unwrap();
    assert_eq!(found, [contact]);
    assert!(
        db.contacts_of(&globex(), &hash("ana"))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(db.erase_leads(&globex(), &hash("ana")).await.unwrap(), 0);
    assert_eq!(db.erase_leads(&acme(), &hash("ana")).await.unwrap(), 1);
    assert_eq!(db.erase_leads(&acme(), &hash("ana")).await.unwrap(), 0);
}

pub(super) async fn personal_deliveries_lose_their_bytes(db: Db) {
    let a = acme();
    for key in ["plain", "personal"] {
        let mut delivery = inbox::delivery(key);
        delivery.body = b"[77]".to_vec();
        db.append_delivery(&a, &delivery, at(0)).await.unwrap();
    }
    for row in db.claim_deliveries(&a, at(1), at(60), 9).await.unwrap() {
        let outcome = DeliveryOutcome {
            is_personal: row.id % 2 == 0,
            ..DeliveryOutcome::default()
        };
        db.settle_delivery(&a, row.id, row.attempt, &outcome, at(2))
            .await
            .unwrap();
    }
    // Only the bytes of the other are left to be cleared.
    let receipt = db
        .erase_contact(&a, &"77".parse().unwrap(), "ana", at(3))
        .await
        .unwrap();
    assert_eq!(receipt.deliveries, 1);
}
