//! Tokens of the API.

use super::*;
use roasd::domain::api_token::{self, ApiToken, Scope};
use roasd::domain::ids::TokenId;

fn token(byte: u8, tenant: Option<TenantId>, s: i64) -> (ApiToken, String) {
    let (id, text) = api_token::text_of(&[byte; 32], &[byte; 6]);
    let token = ApiToken {
        id,
        tenant,
        name: "the website \u{1f3cb}".to_owned(),
        hash: api_token::hash(&text),
        scopes: [Scope::Read, Scope::Ingest].into(),
        created_at: at(s),
        expires_at: Some(at(s + 100)),
        last_used_at: None,
        revoked_at: None,
    };
    (token, text)
}

pub(super) async fn a_token_reads_back_as_kept(db: Db) {
    let (kept, text) = token(1, Some(acme()), 5);
    db.create_token(&kept).await.unwrap();
    let read = db.token(&kept.id).await.unwrap().unwrap();
    assert_eq!(read, kept);
    assert!(read.is(&text));
    let (for_all, _) = token(2, None, 6);
    db.create_token(&for_all).await.unwrap();
    assert_eq!(db.token(&for_all.id).await.unwrap(), Some(for_all.clone()));
    let nobody = TokenId::new("0102").unwrap();
    assert_eq!(db.token(&nobody).await.unwrap(), None);
    assert!(db.create_token(&kept).await.is_err(), "the id is taken");
    let other = ApiToken {
        id: nobody,
        ..for_all
    };
    assert!(db.create_token(&other).await.is_err(), "the hash is taken");
}

pub(super) async fn tokens_are_listed_oldest_first_and_by_tenant(db: Db) {
    for (byte, tenant, s) in [
        (1, Some(acme()), 9),
        (2, Some(globex()), 8),
        (3, None, 7),
        (4, Some(acme()), 6),
    ] {
        db.create_token(&token(byte, tenant, s).0).await.unwrap();
    }
    let listed = |tokens: Vec<ApiToken>| -> Vec<String> {
        tokens.iter().map(|token| token.id.to_string()).collect()
    };
    let of_acme = listed(db.tokens(Some(&acme())).await.unwrap());
    assert_eq!(of_acme, ["040404040404", "030303030303", "010101010101"]);
    let all = listed(db.tokens(None).await.unwrap());
    assert_eq!(all.len(), 4);
    assert_eq!(all[2], "020202020202");
}

pub(super) async fn a_token_is_revoked_once(db: Db) {
    let (kept, _) = token(1, None, 5);
    db.create_token(&kept).await.unwrap();
    let revoked = db.revoke_token(&kept.id, at(20)).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(at(20)));
    let again = db.revoke_token(&kept.id, at(30)).await.unwrap().unwrap();
    assert_eq!(again.revoked_at, Some(at(20)));
    assert_eq!(db.token(&kept.id).await.unwrap(), Some(again));
    let nobody = TokenId::new("0102").unwrap();
    assert_eq!(db.revoke_token(&nobody, at(20)).await.unwrap(), None);
}

pub(super) async fn the_last_use_never_moves_back(db: Db) {
    let (kept, _) = token(1, None, 5);
    db.create_token(&kept).await.unwrap();
    for (used, known) in [(10, 10), (30, 30), (20, 30)] {
        db.token_used(&kept.id, at(used)).await.unwrap();
        let read = db.token(&kept.id).await.unwrap().unwrap();
        assert_eq!(read.last_used_at, Some(at(known)));
    }
}
