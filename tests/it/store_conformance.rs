//! What every store promises, each promise once; the macro at the end runs the suite on each
//! backend. What only a file can do wrong is tested in `files`, what only a server can in
//! `server` and `outages`.

mod audit;
mod brought;
mod changes;
mod crm;
mod entities;
mod files;
mod inbox;
mod insights;
mod isolation;
mod leads;
mod learned;
mod nodes;
mod outages;
mod outbox;
mod reports;
mod rest;
mod retention;
mod revenue;
mod server;
mod syncs;
mod tokens;
mod visits;

use std::sync::Arc;

use roasd::domain::attribution::{Attribution, Credit, Method};
use roasd::domain::change::{Origin, ProposedChange, Target};
use roasd::domain::deal::{CrmAmount, Deal, StageChange};
use roasd::domain::ids::{
    AdId, CampaignId, ChangeId, ContactId, DealId, DecisionId, PipelineId, TenantId, VendorStageId,
};
use roasd::domain::money::{Currency, Money};
use roasd::domain::structure::EntityRef;
use roasd::domain::time::{self, Timestamp};
use roasd::store::postgres::PostgresStore;
use roasd::store::sqlite::{OpenOptions, SqliteStore};
use roasd::store::{Store, StoreError};

use crate::support::postgres::Database;

type Db = Arc<dyn Store>;

/// `s` seconds into the tests' own time.
fn at(s: i64) -> Timestamp {
    time::from_seconds(1_790_000_000 + s)
}

fn acme() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn globex() -> TenantId {
    TenantId::new("globex").unwrap()
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::USD)
}

fn ad(id: &str) -> AdId {
    AdId::new(id).unwrap()
}

fn deal_id(id: &str) -> DealId {
    DealId::new(id).unwrap()
}

fn change_id(id: &str) -> ChangeId {
    ChangeId::new(id).unwrap()
}

fn ad_set(id: &str) -> EntityRef {
    EntityRef::AdSet(id.parse().unwrap())
}

fn budget(minor: i64) -> Target {
    Target::DailyBudget(usd(minor))
}

/// A proposal to move an ad set's budget from 100 to `minor`, due at once.
fn proposal(tenant: &TenantId, id: &str, set: &str, minor: i64) -> ProposedChange {
    ProposedChange {
        id: change_id(id),
        tenant: tenant.clone(),
        entity: ad_set(set),
        entity_name: "Morning classes".to_owned(),
        campaign: CampaignId::new("c1").unwrap(),
        expected: budget(10_000),
        requested: budget(minor),
        reason: "it earns".to_owned(),
        origin: Origin::Decision(DecisionId::new("d1").unwrap()),
        confidence: 0.9,
        needs_approval: false,
        rank: 1,
        earliest_at: at(0),
        expires_at: at(86_400),
        proposed_at: at(0),
    }
}

/// A deal in `stage` since `s`, with one contact.
fn deal(id: &str, stage: &str, s: i64) -> Deal {
    let stage = VendorStageId::new(stage).unwrap();
    Deal {
        id: deal_id(id),
        name: format!("Deal {id}"),
        pipeline: PipelineId::new("default").unwrap(),
        stage: stage.clone(),
        amount: Some(CrmAmount {
            decimal: "1500.50".to_owned(),
            currency: Some("EUR".to_owned()),
        }),
        history: vec![StageChange { at: at(s), stage }],
        contacts: vec![ContactId::new(format!("contact-{id}")).unwrap()],
        created_at: at(0),
        updated_at: at(s),
        is_archived: false,
    }
}

fn credit(ad_name: &str, method: Method) -> Attribution {
    Attribution {
        method,
        confidence: 0.7,
        credit: Credit {
            ad: ad(ad_name),
            ad_set: Some("s1".parse().unwrap()),
            campaign: None,
        },
        visit: Some("v1".parse().unwrap()),
        clicked_at: Some(at(-60)),
        reason: "the click id".to_owned(),
    }
}

/// Asserts that somebody else was there first.
#[track_caller]
fn assert_lost<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(
        matches!(result, Err(StoreError::WrongCount { found: 0, .. })),
        "{result:?}"
    );
}

/// A store of its own in a directory of its own, which must outlive it.
async fn on_sqlite() -> (Db, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roasd.db");
    let store = SqliteStore::open(path.to_str().unwrap(), OpenOptions::default())
        .await
        .unwrap();
    (Arc::new(store), dir)
}

/// A store in a database of its own, which must outlive it.
async fn on_postgres() -> (Db, Database) {
    let database = Database::migrated().await;
    let store = PostgresStore::open(
        database.url(),
        roasd::store::postgres::OpenOptions::default(),
    )
    .await
    .unwrap();
    (Arc::new(store), database)
}

macro_rules! suite {
    ($($area:ident: $($promise:ident),+ $(,)?;)+) => {
        mod sqlite {
            $(mod $area {
                $(#[tokio::test]
                async fn $promise() {
                    let (db, _home) = super::super::on_sqlite().await;
                    super::super::$area::$promise(db).await;
                })+
            })+
        }

        mod postgres {
            $(mod $area {
                $(#[tokio::test]
                async fn $promise() {
                    let (db, _home) = super::super::on_postgres().await;
                    super::super::$area::$promise(db).await;
                })+
            })+
        }
    };
}

suite! {
    audit:
        the_chain_verifies,
        concurrent_lines_keep_one_chain,
        a_line_reads_back_as_it_was_hashed,
        lines_are_read_from_a_sequence_on,
        each_tenant_has_its_own_chain;
    changes:
        a_change_reads_back_as_proposed,
        a_status_change_reads_back_as_proposed,
        one_change_is_open_per_object_and_kind,
        the_same_value_stays,
        a_newer_value_supersedes,
        what_is_being_sent_is_not_superseded,
        proposing_again_changes_nothing,
        lowest_rank_goes_first_then_oldest,
        a_change_is_not_claimed_early,
        a_change_is_claimed_once_by_eight,
        a_lapsed_claim_is_due_again_and_the_old_one_is_lost,
        an_executing_change_is_never_claimed,
        a_pause_of_the_tenant_blocks_the_intent,
        a_pause_of_the_daemon_blocks_the_intent,
        a_suspension_blocks_the_intent,
        a_completed_budget_is_our_move_and_known,
        what_was_in_force_already_is_not_our_move,
        a_deferred_change_is_pending_and_may_not_count,
        a_refused_change_stays_refused,
        what_was_sent_cannot_be_refused,
        a_failed_and_a_cancelled_change_close_once,
        an_unanswered_call_can_go_back,
        executing_changes_are_listed_oldest_first,
        approval_makes_it_due_at_once,
        nobody_approves_what_does_not_wait,
        a_person_rejects_what_is_not_sent,
        changes_lapse,
        a_prefix_finds_the_only_one,
        changes_are_listed_newest_first,
        a_list_goes_on_behind_a_change,
        next_due_is_the_earliest,
        next_due_includes_what_lapses_and_what_is_unsettled,
        past_actions_are_what_was_sent,
        what_had_no_effect_is_no_past_action,
        each_move_writes_its_line,
        two_currencies_are_refused;
    inbox:
        a_repeat_changes_nothing,
        a_repeat_after_settling_is_a_repeat,
        a_row_is_claimed_once_by_eight,
        oldest_first_and_no_more_than_asked,
        each_claim_counts_and_a_lapsed_one_is_lost,
        settling_asks_for_deals_and_quarantines_parts,
        poison_keeps_its_bytes,
        a_quarantined_delivery_is_read_by_its_tenant_alone,
        a_long_delivery_keeps_its_bytes,
        a_retried_delivery_starts_over,
        a_dropped_delivery_stays_known,
        depth_counts_what_waits,
        the_newest_delivery_is_the_newest_worked_off,
        many_appends_at_once_are_all_kept;
    visits:
        a_visit_is_kept_once,
        an_answer_changes_the_consent_and_nothing_else,
        a_click_id_is_case_sensitive,
        visits_are_found_by_each_key,
        hashes_need_consent,
        clicks_name_an_ad,
        many_lookups_are_answered_at_once,
        visits_are_read_by_id_and_by_time;
    leads:
        a_lead_is_asked_for_once,
        a_lead_that_is_put_off_comes_back_or_not,
        leads_are_found_by_each_key,
        a_lead_unsettles_the_deals_of_its_person,
        an_erasure_takes_the_person_and_leaves_the_money,
        who_was_erased_does_not_come_back,
        a_person_is_found_by_address,
        personal_deliveries_lose_their_bytes;
    crm:
        asking_twice_is_asking_once,
        a_request_after_the_read_stays,
        a_deal_reads_back_with_its_stages,
        a_stage_is_kept_once_whatever_brought_it,
        only_a_difference_unsettles,
        an_older_read_changes_nothing,
        a_missing_deal_is_archived,
        a_contact_that_changed_unsettles_its_deals,
        contacts_come_in_order_of_id,
        a_retry_falls_due,
        settled_deals_are_unsettled_in_batches,
        pipeline_stages_are_replaced;
    syncs:
        a_sync_is_asked_for_taken_up_and_answered,
        a_sync_asked_for_anew_is_done_anew,
        a_list_tells_what_is_not_as_it_is_kept,
        open_deals_are_those_that_are_there_and_not_closed,
        merged_deals_hand_their_credit_on;
    revenue:
        settling_writes_all_of_it,
        many_deals_are_settled_or_none,
        the_last_answer_of_each_layer_is_read,
        a_state_is_settled_once,
        a_newer_revision_stays_unsettled,
        a_deal_can_be_settled_again_when_its_retry_is_due,
        conversions_are_updated_in_place,
        totals_are_by_ad,
        layers_and_gaps_are_counted,
        totals_are_by_ad_and_quarter,
        faults_are_listed,
        nothing_is_half_settled,
        stage_values_are_mirrored,
        a_deal_is_valued_anew_by_its_difference;
    learned:
        what_stages_are_worth_stands_beside_the_configuration,
        reliability_is_replaced;
    insights:
        a_restated_row_replaces,
        a_row_that_meta_took_back_goes,
        hourly_and_daily_are_separate,
        an_older_pull_changes_nothing,
        figures_are_as_they_were_known,
        a_pull_of_some_campaigns_leaves_the_others,
        the_watermark_never_moves_back,
        spend_is_summed_by_day,
        spend_is_summed_by_hour,
        ten_thousand_rows_fit;
    entities:
        a_structure_reads_back_whole,
        a_first_read_is_no_drift,
        a_foreign_edit_is_drift_and_history,
        our_own_move_is_no_drift,
        what_is_being_sent_is_no_drift,
        a_read_from_before_our_move_does_not_undo_it,
        what_is_gone_is_left_out_and_may_return,
        first_budgets_stay;
    brought:
        a_vector_is_kept_in_place_of_the_ads_older_one,
        what_was_said_of_a_vector_is_read_by_ad,
        a_vector_of_another_length_or_beyond_the_room_is_refused,
        vectors_brought_at_once_find_their_order_and_room;
    rest:
        decisions_read_back,
        decisions_are_listed_newest_first,
        the_newest_run_is_the_newest,
        runs_are_walked_in_the_order_of_time,
        an_ad_is_put_aside_until_returned,
        the_first_model_is_champion,
        a_champion_gives_way_in_one_step,
        there_is_one_champion_at_every_time,
        what_a_challenger_decided_stays,
        gate_rows_are_replaced,
        the_last_run_of_each_stage_is_told,
        a_cursor_moves,
        past_ads_are_replaced_by_ad_and_model,
        a_past_ad_that_is_left_out_stays_so,
        a_tenant_is_known_once,
        a_pause_is_told_once_and_ends,
        a_daemon_pause_is_told_to_every_tenant,
        parking_ends_by_resuming,
        a_breaker_trips_once_and_rests_when_a_person_ended_it,
        the_later_freeze_stands,
        nul_characters_are_left_out,
        counts_and_status_answer,
        an_overview_says_of_each_tenant_what_is_said_of_it_alone,
        a_closed_store_is_unavailable;
    outbox:
        an_alert_is_told_once_on_each_channel,
        a_message_takes_along_what_waits_for_the_same_ear,
        what_did_not_arrive_is_tried_again_at_its_time,
        one_claim_of_many_gets_a_message,
        a_day_is_counted_by_its_changes;
    nodes:
        a_node_is_known_by_name_until_it_is_forgotten,
        the_later_of_two_of_one_name_is_the_node,
        a_claim_tells_whether_the_tenant_was_free,
        the_first_key_is_the_one,
        a_tenant_is_claimed_once_by_eight,
        a_held_lease_is_left_and_a_lapsed_one_taken,
        tokens_grow_whoever_claims,
        a_node_takes_its_own_leases_anew,
        renewing_fails_after_a_takeover,
        a_released_lease_is_free_and_its_token_dead,
        leases_are_listed_with_what_is_left,
        a_holder_writes_and_reads,
        a_fence_is_for_one_tenant,
        a_deposed_holder_cannot_write_by_any_method,
        nothing_is_written_after_a_takeover,
        a_nudge_is_heard_by_all_who_listen;
    tokens:
        a_token_reads_back_as_kept,
        tokens_are_listed_oldest_first_and_by_tenant,
        a_token_is_revoked_once,
        the_last_use_never_moves_back;
    reports:
        a_reported_conversion_reads_back_and_is_replaced,
        reported_conversions_are_listed_newest_first,
        the_newest_report_of_an_ad_stands;
    retention:
        what_is_older_is_forgotten_and_no_more,
        the_oldest_go_first_and_no_more_than_asked,
        deliveries_that_need_somebody_stay,
        daily_figures_stay,
        a_decision_stays_without_its_inputs,
        the_last_run_stays_known;
    isolation:
        nothing_of_one_tenant_is_read_for_another;
}
