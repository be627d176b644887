//! No look-up of attribution costs more as history grows: every one is answered from an index by
//! value and time, of so many clicks at most.

use roasd::store::{self, postgres, sqlite};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use crate::support::postgres::Database;

/// The columns that clicks are looked up by, each with its index.
const COLUMNS: [(&str, &str); 3] = [
    ("fbclid", "click_tracking_fbclid"),
    ("fingerprint", "click_tracking_by_fingerprint"),
    ("ip", "click_tracking_by_ip"),
];

#[tokio::test]
async fn sqlite_looks_clicks_up_by_index() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("roasd.db");
    let url = format!("sqlite:{}", file.display());
    store::open(&url).await.unwrap().close().await;
    let options = SqliteConnectOptions::new().filename(&file);
    let mut conn = sqlx::SqliteConnection::connect_with(&options)
        .await
        .unwrap();
    for ((column, index), statement) in COLUMNS.iter().zip(sqlite::CLICK_LOOKUPS) {
        let explain = AssertSqlSafe(format!("explain query plan {statement}"));
        let rows = sqlx::query(explain)
            .bind("gym")
            .bind("[]")
            .bind(32)
            .fetch_all(&mut conn)
            .await
            .unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        let plan = steps.join("\n");
        println!("{column}:\n{plan}");
        // What a device or an address is compared by is in the index; an fbclid finds few.
        let covering = if *column == "fbclid" { "" } else { "COVERING " };
        let inner = format!(
            "SEARCH c USING {covering}INDEX {index} (tenant=? AND {column}=? AND at>? AND at<?)"
        );
        assert!(plan.contains(&inner), "{plan}");
        assert!(
            !plan.contains("SCAN c") && !plan.contains("TEMP B-TREE"),
            "{plan}"
        );
    }
}

#[tokio::test]
async fn postgres_looks_clicks_up_by_index() {
    let database = Database::migrated().await;
    let mut conn = sqlx::PgConnection::connect(database.url()).await.unwrap();
    // So many that reading them all is never cheaper.
    let fill = "insert into click_tracking (tenant, id, at, fbclid, ad_id, has_consent, fingerprint, ip, user_agent)
         select 'gym', 'v' || n, n, 'f' || n, '7', 1, 'd' || n % 5000, 'i' || n % 9000, 'u'
         from generate_series(1, 50000) as n";
    sqlx::raw_sql(fill).execute(&mut conn).await.unwrap();
    sqlx::raw_sql("vacuum analyze click_tracking")
        .execute(&mut conn)
        .await
        .unwrap();
    for ((column, index), statement) in COLUMNS.iter().zip(postgres::CLICK_LOOKUPS) {
        let rows = sqlx::query(AssertSqlSafe(format!("explain {statement}")))
            .bind("gym")
            .bind(vec![0_i64, 1])
            .bind(vec!["a", "b"])
            .bind(vec![0_i64, 0])
            .bind(vec![9_i64, 9])
            .bind(32_i64)
            .fetch_all(&mut conn)
            .await
            .unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = steps.join("\n");
        println!("{column}:\n{plan}");
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("Seq Scan"), "{plan}");
        assert!(
            *column == "fbclid" || plan.contains("Index Only Scan"),
            "{plan}"
        );
        assert!(plan.contains("Limit"), "{plan}");
    }
    conn.close().await.unwrap();
}
