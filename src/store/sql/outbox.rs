//! Rows of `outbox`: an alert is kept as JSON, since nothing but the channels reads its inside.

use super::cells::{Cells, Columns};
use super::values::corrupt;
use crate::domain::alert::{Alert, AlertKind};
use crate::domain::ids::TenantId;
use crate::domain::money::Money;
use crate::domain::time;
use crate::store::StoreError;
use crate::store::outbox::{ChangeFigures, ClaimedMessage, MessageRecord, MessageStatus};

const TABLE: &str = "outbox";

#[derive(serde::Serialize, serde::Deserialize)]
struct Payload {
    kind: String,
    at: i64,
    text: String,
    next_step: String,
}

/// An alert as it is kept; its tenant and key have columns of their own.
pub(in crate::store) fn payload(alert: &Alert) -> Result<String, StoreError> {
    let payload = Payload {
        kind: alert.kind.as_str().to_owned(),
        at: time::to_micros(alert.at),
        text: super::values::clean(&alert.text).into_owned(),
        next_step: super::values::clean(&alert.next_step).into_owned(),
    };
    super::json(&payload, "keeping an alert")
}

fn alert(row: Columns<'_>) -> Result<Alert, StoreError> {
    let payload: Payload =
        serde_json::from_str(row.get("payload_json")?).map_err(|cause| corrupt(TABLE, cause))?;
    let kind = AlertKind::parse(&payload.kind)
        .ok_or_else(|| corrupt(TABLE, format!("{:?} is no kind of alert", payload.kind)))?;
    Ok(Alert {
        tenant: row.id_opt::<TenantId>("tenant")?,
        kind,
        key: row.get("dedup_key")?,
        at: time::from_micros(payload.at),
        text: payload.text,
        next_step: payload.next_step,
    })
}

/// Reads a claimed message.
pub(in crate::store) fn claimed(row: &impl Cells) -> Result<ClaimedMessage, StoreError> {
    let row = Columns::of(TABLE, row);
    Ok(ClaimedMessage {
        id: row.get("id")?,
        channel: row.get("kind")?,
        alert: alert(row)?,
        attempt: row.get("attempt")?,
    })
}

/// Reads a message with how far it has got.
pub(in crate::store) fn record(row: &impl Cells) -> Result<MessageRecord, StoreError> {
    let row = Columns::of(TABLE, row);
    let status: &str = row.get("status")?;
    let status = match status {
        "waiting" => MessageStatus::Waiting,
        "claimed" => MessageStatus::Claimed,
        "sent" => MessageStatus::Sent,
        "failed" => MessageStatus::Failed,
        other => {
            return Err(corrupt(
                TABLE,
                format!("{other:?} is no state of a message"),
            ));
        }
    };
    Ok(MessageRecord {
        channel: row.get("kind")?,
        alert: alert(row)?,
        status,
        attempts: row.get("attempt")?,
        sent_at: row.at_opt("sent_at")?,
        error: row.get("error")?,
    })
}

/// A row of figures: event, what was done, guard, how many.
pub(in crate::store) type Counted = (String, String, Option<String>, i64);

/// Counts a tenant's changes of a time by event, by what was done, and by guard; both stores take it
/// as it is. Of one change that a guard holds many times, one counts.
pub(in crate::store) const COUNT_CHANGES: &str = "
    select event,
        case when before_minor is null or after_minor is null then coalesce(after_status, '')
             when after_minor > before_minor then 'raised'
             when after_minor < before_minor then 'lowered'
             else '' end as what,
        rule,
        count(distinct coalesce(change_id, cast(sequence as text))) as many
    from ad_change_history
    where tenant = $1 and event in ('completed', 'failed', 'deferred', 'refused')
      and at >= $2 and at < $3
    group by 1, 2, 3";

/// Sums a tenant's credited entries of a time by currency; both stores take it as it is.
pub(in crate::store) const SUM_CREDITED: &str = "
    select cast(sum(amount_minor) as bigint), currency from revenue_ledger
    where tenant = $1 and ad_id is not null and occurred_at >= $2 and occurred_at < $3
    group by currency order by currency";

/// What counted rows come to.
pub(in crate::store) fn figures(rows: Vec<Counted>) -> ChangeFigures {
    let mut figures = ChangeFigures::default();
    let mut held = std::collections::BTreeMap::<String, u64>::new();
    for (event, what, rule, many) in rows {
        let many = super::values::uncount(many);
        match (event.as_str(), what.as_str()) {
            ("completed", "raised") => figures.raised += many,
            ("completed", "lowered") => figures.lowered += many,
            ("completed", "PAUSED") => figures.paused += many,
            ("completed", "ACTIVE") => figures.resumed += many,
            ("failed", _) => figures.failed += many,
            ("deferred" | "refused", _) => {
                *held.entry(rule.unwrap_or_default()).or_default() += many;
            }
            _ => {}
        }
    }
    held.remove("");
    figures.held = held.into_iter().collect();
    figures
        .held
        .sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    figures
}

/// Reads sums by currency.
pub(in crate::store) fn sums(rows: Vec<(i64, String)>) -> Result<Vec<Money>, StoreError> {
    rows.into_iter()
        .map(|(minor, currency)| super::values::money("revenue_ledger", minor, &currency))
        .collect()
}
