use super::*;
use roasd::domain::audit::{AuditEntry, AuditEvent, verify};
use roasd::domain::structure::RunStatus;
use roasd::domain::time::SignedDuration;

pub(super) fn entry(tenant: &TenantId, detail: &str) -> AuditEntry {
    AuditEntry {
        tenant: tenant.clone(),
        at: at(0),
        event: AuditEvent::ForeignEdit,
        actor: "meta:someone".to_owned(),
        change: None,
        entity: Some(ad_set("s1")),
        campaign: Some("c1".parse().unwrap()),
        before: Some(budget(100)),
        after: Some(Target::Status(RunStatus::Paused)),
        rule: Some("velocity".to_owned()),
        detail: detail.to_owned(),
        vendor_request: Some("trace".to_owned()),
    }
}

pub(super) async fn the_chain_verifies(db: Db) {
    for n in 1..=5 {
        let line = db.append_audit(&entry(&acme(), "x")).await.unwrap();
        assert_eq!(line.sequence, n);
    }
    let lines = db.audit_lines(&acme(), 0, 100).await.unwrap();
    assert_eq!(lines.len(), 5);
    verify(&lines).unwrap();
    let mut cut = lines.clone();
    cut.remove(2);
    assert!(verify(&cut).is_err());
}

pub(super) async fn concurrent_lines_keep_one_chain(db: Db) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    db.append_audit(&entry(&acme(), "x")).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let lines = db.audit_lines(&acme(), 0, 100).await.unwrap();
    assert_eq!(lines.len(), 40);
    verify(&lines).unwrap();
}

pub(super) async fn a_line_reads_back_as_it_was_hashed(db: Db) {
    let fine = AuditEntry {
        at: at(0) + SignedDuration::from_nanos(1_234_567),
        ..entry(&acme(), "with\0nul")
    };
    let line = db.append_audit(&fine).await.unwrap();
    assert_eq!(line.entry.detail, "withnul");
    let lines = db.audit_lines(&acme(), 0, 10).await.unwrap();
    assert_eq!(lines, [line]);
    verify(&lines).unwrap();
}

pub(super) async fn lines_are_read_from_a_sequence_on(db: Db) {
    for _ in 0..5 {
        db.append_audit(&entry(&acme(), "x")).await.unwrap();
    }
    let some = db.audit_lines(&acme(), 2, 2).await.unwrap();
    let sequences: Vec<i64> = some.iter().map(|line| line.sequence).collect();
    assert_eq!(sequences, [3, 4]);
}

pub(super) async fn each_tenant_has_its_own_chain(db: Db) {
    db.append_audit(&entry(&acme(), "x")).await.unwrap();
    let line = db.append_audit(&entry(&globex(), "y")).await.unwrap();
    assert_eq!(line.sequence, 1);
    verify(&db.audit_lines(&acme(), 0, 10).await.unwrap()).unwrap();
    verify(&db.audit_lines(&globex(), 0, 10).await.unwrap()).unwrap();
}
