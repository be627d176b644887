-- Everything roasd must not forget: what came in, what it means, what was decided, what was sent to
-- Meta and why. A process may be killed at any instant, so the truth is here and nowhere else.
--
-- * Every row names its tenant, and every key begins with it, so that nothing of one tenant can be
--   found by the key of another. The gate, the nodes and the daemon's own pause belong to no tenant.
-- * Instants are whole microseconds since 1970 (`…_at`, `…_until`), days are ISO dates of the ad
--   account's own calendar, money is whole minor units beside its currency, flags are 0 or 1.
--   The views at the end show them as people read them; point reports at those.
-- * Checks and indexes hold the promises that no bug may break: the states there are, one open change
--   per object and kind, and three logs that can only be added to.
-- * Names are compared and sorted byte by byte (`collate "C"`) as on SQLite, whatever the collation of
--   the database: a prefix must find what begins with it.
-- * Tables, views and columns are those of SQLite's migration of the same number.
-- * This file is never edited once released: its checksum is kept in every database.

-- An instant as people and reports read it.
create function roasd_time(micros bigint) returns timestamptz
    language sql stable parallel safe
    return timestamptz 'epoch' + micros * interval '1 microsecond';

-- An amount in main units.
create function roasd_money(minor bigint, minor_offset bigint) returns numeric
    language sql immutable parallel safe
    return round(minor::numeric / minor_offset, 2);

-- Holds the logs that can only be added to.
create function roasd_refuse() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only%', tg_table_name, coalesce(': ' || tg_argv[0], '');
end
$$;

-- Minor units in one main unit, by Meta's table, so that reports show yen and dollars right.
create table currencies (
    code text collate "C" primary key,
    minor_offset bigint not null check (minor_offset in (1, 100))
);

insert into currencies (code, minor_offset) values
    ('CLP', 1), ('COP', 1), ('CRC', 1), ('HUF', 1), ('ISK', 1), ('IDR', 1), ('JPY', 1), ('KRW', 1),
    ('PYG', 1), ('TWD', 1), ('VND', 1),
    ('AED', 100), ('ARS', 100), ('AUD', 100), ('BDT', 100), ('BGN', 100), ('BHD', 100),
    ('BOB', 100), ('BRL', 100), ('CAD', 100), ('CHF', 100), ('CNY', 100), ('CZK', 100),
    ('DKK', 100), ('DZD', 100), ('EGP', 100), ('EUR', 100), ('GBP', 100), ('GTQ', 100),
    ('HKD', 100), ('HNL', 100), ('ILS', 100), ('INR', 100), ('JOD', 100), ('KES', 100),
    ('LKR', 100), ('MAD', 100), ('MOP', 100), ('MXN', 100), ('MYR', 100), ('NGN', 100),
    ('NIO', 100), ('NOK', 100), ('NZD', 100), ('PEN', 100), ('PHP', 100), ('PKR', 100),
    ('PLN', 100), ('QAR', 100), ('RON', 100), ('RSD', 100), ('SAR', 100), ('SEK', 100),
    ('SGD', 100), ('THB', 100), ('TRY', 100), ('UAH', 100), ('USD', 100), ('UYU', 100),
    ('ZAR', 100);

-- ---------------------------------------------------------------- what a tenant is held by

create table tenant_state (
    tenant text collate "C" primary key,
    name text not null,
    created_at bigint, -- null while only a hold has named the tenant
    paused_by text, paused_reason text, paused_since bigint,
    parked_by text, parked_reason text, parked_since bigint,
    suspended_by text, suspended_reason text, suspended_since bigint
);

-- One row: the pause of the whole daemon.
create table daemon_state (
    id bigint primary key check (id = 1),
    paused_by text, paused_reason text, paused_since bigint
);

insert into daemon_state (id) values (1);

create table frozen_objects (
    tenant text collate "C" not null,
    entity_type text collate "C" not null check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text collate "C" not null,
    frozen_until bigint not null,
    reason text not null,
    primary key (tenant, entity_type, entity_id)
);

-- Processes that share this store, and which of them works for which tenant. `fence` only grows.
create table nodes (
    id text collate "C" primary key,
    host text not null,
    version text collate "C" not null,
    started_at bigint not null,
    heartbeat_at bigint not null
);

create table tenant_leases (
    tenant text collate "C" primary key,
    node_id text collate "C" not null,
    fence bigint not null check (fence > 0),
    lease_until bigint not null
);

-- Only a hash of each token is kept.
create table api_tokens (
    id text collate "C" primary key,
    tenant text collate "C" not null,
    name text not null,
    token_hash text collate "C" not null unique,
    scopes text not null,
    created_at bigint not null,
    expires_at bigint,
    last_used_at bigint,
    revoked_at bigint
);

-- ---------------------------------------------------------------- what came in

-- Deliveries with their bytes. The key stays when the delivery is settled, since vendors repeat
-- themselves for days. A part that could not be read is a row of its own, with no key.
--
-- A claim changes no column that an index looks at, so it is written in place: what is open has no
-- `settled_at`, what is or was in quarantine has a `reason`. Pages are left room for that.
create table inbox (
    id bigint generated by default as identity primary key,
    tenant text collate "C" not null,
    source text collate "C" not null,
    dedup_key text collate "C",
    parent_id bigint,
    body bytea not null,
    received_at bigint not null,
    status text collate "C" not null
        check (status in ('waiting', 'claimed', 'settled', 'quarantined', 'dropped')),
    attempt bigint not null default 0 check (attempt >= 0),
    lease_until bigint,
    reason text,
    settled_at bigint
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

create unique index inbox_once on inbox (tenant, source, dedup_key);
create index inbox_open on inbox (tenant, id) where settled_at is null;
create index inbox_quarantine on inbox (tenant, id) where reason is not null;

-- Visits. IP, device and user agent are keyed hashes, and absent without consent.
create table click_tracking (
    tenant text collate "C" not null,
    id text collate "C" not null,
    at bigint not null,
    fbclid text collate "C",
    ad_id text collate "C",
    ad_set_id text collate "C",
    campaign_id text collate "C",
    utm_source text collate "C",
    has_consent bigint not null check (has_consent in (0, 1)),
    fingerprint text collate "C",
    ip text collate "C",
    user_agent text collate "C",
    primary key (tenant, id),
    check (has_consent = 1 or (fingerprint is null and ip is null and user_agent is null))
);

create index click_tracking_at on click_tracking (tenant, at);
create index click_tracking_fbclid on click_tracking (tenant, fbclid, at) where fbclid is not null;
create index click_tracking_fingerprint on click_tracking (tenant, fingerprint, at)
    where fingerprint is not null;
create index click_tracking_ip on click_tracking (tenant, ip, at) where ip is not null;
create index click_tracking_user_agent on click_tracking (tenant, user_agent, at)
    where user_agent is not null;

-- ---------------------------------------------------------------- the CRM, as last read

-- Deals to be read. The last asking counts: a read that began before it may have missed the news.
create table deal_requests (
    tenant text collate "C" not null,
    deal_id text collate "C" not null,
    first_asked_at bigint not null,
    last_asked_at bigint not null,
    primary key (tenant, deal_id)
);

create index deal_requests_age on deal_requests (tenant, first_asked_at, deal_id);

-- A deal and the credit it has. It is unsettled while `revision` is above `settled_revision`.
create table crm_deals (
    tenant text collate "C" not null,
    id text collate "C" not null,
    name text not null,
    pipeline_id text collate "C" not null,
    stage_id text collate "C" not null,
    amount_decimal text,
    amount_currency text collate "C",
    created_at bigint not null,
    updated_at bigint not null,
    is_archived bigint not null check (is_archived in (0, 1)),
    read_at bigint not null,
    revision bigint not null,
    settled_revision bigint not null,
    settled_at bigint,
    retry_at bigint,
    fault text,
    method text collate "C" check (method in ('url_param', 'fingerprint', 'probabilistic')),
    confidence double precision check (confidence > 0 and confidence <= 1),
    ad_id text collate "C",
    ad_set_id text collate "C",
    campaign_id text collate "C",
    visit_id text collate "C",
    clicked_at bigint,
    reason text,
    primary key (tenant, id),
    check ((method is null) = (ad_id is null)),
    check ((method is null) = (confidence is null))
);

create index crm_deals_unsettled on crm_deals (tenant, id) where revision > settled_revision;
create index crm_deals_retry on crm_deals (tenant, retry_at) where retry_at is not null;
create index crm_deals_created on crm_deals (tenant, created_at);
create index crm_deals_faulty on crm_deals (tenant, id) where fault is not null;

create table crm_deal_contacts (
    tenant text collate "C" not null,
    deal_id text collate "C" not null,
    contact_id text collate "C" not null,
    primary key (tenant, deal_id, contact_id)
);

create index crm_deal_contacts_by_contact on crm_deal_contacts (tenant, contact_id);

-- A stage that a deal entered at a time, once, whatever brought the news.
create table crm_events (
    tenant text collate "C" not null,
    deal_id text collate "C" not null,
    entered_at bigint not null,
    stage_id text collate "C" not null,
    primary key (tenant, deal_id, entered_at, stage_id)
);

-- What contacts tell about their click. No name, no mail address, no phone number.
create table crm_contacts (
    tenant text collate "C" not null,
    id text collate "C" not null,
    roasd_click_id text collate "C",
    facebook_click_id text collate "C",
    meta_lead_id text collate "C",
    ad_id text collate "C",
    ad_set_id text collate "C",
    campaign_id text collate "C",
    first_url text,
    created_at bigint,
    updated_at bigint not null,
    read_at bigint not null,
    primary key (tenant, id)
);

create table crm_pipeline_stages (
    tenant text collate "C" not null,
    pipeline_id text collate "C" not null,
    id text collate "C" not null,
    label text not null,
    place bigint not null,
    is_won bigint not null check (is_won in (0, 1)),
    is_lost bigint not null check (is_lost in (0, 1)),
    read_at bigint not null,
    primary key (tenant, pipeline_id, id)
);

-- ---------------------------------------------------------------- attribution and revenue

-- A stage event as a conversion, with the credit it has now.
create table conversion_tracking (
    tenant text collate "C" not null,
    deal_id text collate "C" not null,
    at bigint not null,
    stage text collate "C" not null,
    value_minor bigint not null,
    currency text collate "C" not null,
    method text collate "C" check (method in ('url_param', 'fingerprint', 'probabilistic')),
    confidence double precision,
    ad_id text collate "C",
    ad_set_id text collate "C",
    campaign_id text collate "C",
    visit_id text collate "C",
    clicked_at bigint,
    updated_at bigint not null,
    primary key (tenant, deal_id, at, stage)
);

create index conversion_tracking_at on conversion_tracking (tenant, at);

-- What each layer answered, each time it was asked.
create table attribution_performance_log (
    id bigint generated by default as identity primary key,
    tenant text collate "C" not null,
    deal_id text collate "C" not null,
    at bigint not null,
    method text collate "C" not null check (method in ('url_param', 'fingerprint', 'probabilistic')),
    succeeded bigint not null check (succeeded in (0, 1)),
    confidence double precision not null,
    reason text not null,
    runners_up_json text not null
);

create index attribution_performance_log_deal on attribution_performance_log (tenant, deal_id);
create index attribution_performance_log_at on attribution_performance_log (tenant, at);

-- The stage values in force, mirrored from the configuration, and what was learned beside them.
create table synthetic_revenue_config (
    tenant text collate "C" not null,
    stage text collate "C" not null,
    value_minor bigint not null,
    currency text collate "C" not null,
    confidence double precision not null check (confidence between 0 and 1),
    vendor_ids_json text not null,
    is_won bigint not null check (is_won in (0, 1)),
    is_lost bigint not null check (is_lost in (0, 1)),
    learned_rate double precision check (learned_rate between 0 and 1),
    learned_from_deals bigint,
    updated_at bigint not null,
    primary key (tenant, stage)
);

-- Differences, so that a deal's entries sum to the value of its present stage.
create table revenue_ledger (
    sequence bigint generated by default as identity primary key,
    tenant text collate "C" not null,
    deal_id text collate "C" not null,
    ad_id text collate "C",
    ad_set_id text collate "C",
    campaign_id text collate "C",
    method text collate "C" check (method in ('url_param', 'fingerprint', 'probabilistic')),
    confidence double precision not null check (confidence between 0 and 1),
    kind text collate "C" not null check (kind in ('stage', 'amount', 'reversal', 'recredit')),
    stage text collate "C",
    amount_minor bigint not null,
    currency text collate "C" not null,
    is_cash bigint not null check (is_cash in (0, 1)),
    occurred_at bigint not null,
    recorded_at bigint not null
);

create index revenue_ledger_deal on revenue_ledger (tenant, deal_id, sequence);
create index revenue_ledger_occurred on revenue_ledger (tenant, occurred_at);

create trigger revenue_ledger_keeps_its_rows before update on revenue_ledger
    for each row execute function roasd_refuse('add an entry that corrects it');
create trigger revenue_ledger_forgets_nothing before delete on revenue_ledger
    for each row execute function roasd_refuse('add an entry that corrects it');
create trigger revenue_ledger_stays_whole before truncate on revenue_ledger
    for each statement execute function roasd_refuse('add an entry that corrects it');

-- ---------------------------------------------------------------- the ad account, as last read

create table ad_accounts (
    tenant text collate "C" primary key,
    account_id text collate "C" not null,
    name text not null,
    account_status bigint not null,
    currency text collate "C" not null,
    time_zone text not null,
    min_daily_budget_minor bigint,
    read_at bigint not null
);

-- Campaigns, ad sets and ads with their creatives. `gone_at`: no longer in the account.
-- `budget_set_at`, `status_set_at`: our own last write, which an older read must not undo.
create table ad_entities (
    tenant text collate "C" not null,
    entity_type text collate "C" not null check (entity_type in ('campaign', 'adset', 'ad')),
    id text collate "C" not null,
    campaign_id text collate "C" not null,
    ad_set_id text collate "C",
    name text not null,
    status text collate "C" not null check (status in ('ACTIVE', 'PAUSED', 'ARCHIVED', 'DELETED')),
    effective_status text not null,
    budget_type text collate "C" check (budget_type in ('daily', 'lifetime')),
    budget_minor bigint,
    currency text collate "C" not null,
    first_daily_budget_minor bigint,
    first_currency text collate "C" not null,
    objective text,
    shares_budgets bigint check (shares_budgets in (0, 1)),
    has_budget_schedule bigint check (has_budget_schedule in (0, 1)),
    smart_promotion text,
    learning_status text,
    learning_last_edit_at bigint,
    creative_id text collate "C",
    creative_title text,
    creative_body text,
    creative_description text,
    creative_call_to_action text,
    creative_format text,
    creative_link text,
    creative_url_tags text,
    created_at bigint not null,
    updated_at bigint not null,
    first_seen_at bigint not null,
    gone_at bigint,
    budget_set_at bigint,
    status_set_at bigint,
    primary key (tenant, entity_type, id),
    check ((budget_type is null) = (budget_minor is null))
);

-- Budgets and statuses that an object came to hold, whoever set them.
create table ad_entity_history (
    sequence bigint generated by default as identity primary key,
    tenant text collate "C" not null,
    entity_type text collate "C" not null check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text collate "C" not null,
    campaign_id text collate "C" not null,
    at bigint not null,
    field text collate "C" not null check (field in ('budget', 'status')),
    from_minor bigint,
    from_currency text collate "C",
    to_minor bigint,
    to_currency text collate "C",
    from_status text collate "C",
    to_status text collate "C",
    is_ours bigint not null check (is_ours in (0, 1)),
    change_id text collate "C"
);

create index ad_entity_history_at on ad_entity_history (tenant, field, at);

-- Figures by ad and window. A restated row replaces the earlier one. `hour` is -1 for a whole day.
create table ad_insights (
    tenant text collate "C" not null,
    ad_id text collate "C" not null,
    day text collate "C" not null check (day like '____-__-__'),
    hour bigint not null check (hour between -1 and 23),
    ad_set_id text collate "C" not null,
    campaign_id text collate "C" not null,
    impressions bigint not null check (impressions >= 0),
    clicks bigint not null check (clicks >= 0),
    spend_minor bigint not null check (spend_minor >= 0),
    currency text collate "C" not null,
    reach bigint,
    actions_json text not null,
    pulled_at bigint not null,
    primary key (tenant, ad_id, day, hour)
);

create index ad_insights_day on ad_insights (tenant, day, hour);

-- When the newest figures of each kind were pulled.
create table insight_watermarks (
    tenant text collate "C" not null,
    granularity text collate "C" not null check (granularity in ('daily', 'hourly')),
    pulled_at bigint not null,
    primary key (tenant, granularity)
);

-- ---------------------------------------------------------------- decisions and changes

-- One run of the policy with all it saw: with its seed it can be replayed bit for bit.
create table decision_runs (
    id text collate "C" primary key,
    tenant text collate "C" not null,
    at bigint not null,
    seed bigint not null, -- the 64 bits of an unsigned number
    policy text collate "C" not null,
    version text collate "C" not null,
    inputs_json text not null,
    flags_json text not null
);

create index decision_runs_at on decision_runs (tenant, at);

create table decisions (
    sequence bigint generated by default as identity primary key,
    id text collate "C" not null unique,
    tenant text collate "C" not null,
    run_id text collate "C" not null references decision_runs (id),
    entity_type text collate "C" not null check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text collate "C" not null,
    entity_name text not null,
    action text collate "C" not null,
    value_from text not null,
    value_to text not null,
    paragraph text not null,
    rationale_json text not null,
    change_id text collate "C",
    at bigint not null
);

create index decisions_run on decisions (tenant, run_id);
create index decisions_put_aside on decisions (tenant, entity_type, entity_id, sequence)
    where action in ('kill', 'rotate', 'return');

create trigger decisions_keep_their_rows before update on decisions
    for each row execute function roasd_refuse('decide again');
create trigger decisions_forget_nothing before delete on decisions
    for each row execute function roasd_refuse('decide again');
create trigger decisions_stay_whole before truncate on decisions
    for each statement execute function roasd_refuse('decide again');

-- The queue. `executing` is the committed intent to call Meta; its value is `intent_…`.
create table pending_ad_changes (
    id text collate "C" primary key,
    tenant text collate "C" not null,
    entity_type text collate "C" not null check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text collate "C" not null,
    entity_name text not null,
    campaign_id text collate "C" not null,
    change_type text collate "C" not null check (change_type in ('budget', 'status', 'bid')),
    currency text collate "C",
    expected_minor bigint,
    requested_minor bigint check (requested_minor >= 0),
    intent_minor bigint,
    expected_status text collate "C",
    requested_status text collate "C" check (requested_status in ('ACTIVE', 'PAUSED')),
    intent_status text collate "C",
    reason text not null,
    decision_id text collate "C",
    undoes_change_id text collate "C",
    confidence double precision not null,
    needs_approval bigint not null check (needs_approval in (0, 1)),
    rank bigint not null,
    earliest_execute_at bigint not null,
    expires_at bigint not null,
    proposed_at bigint not null,
    status text collate "C" not null check (status in ('awaiting_approval', 'pending', 'claimed',
        'executing', 'completed', 'failed', 'cancelled', 'rejected', 'refused', 'expired')),
    attempt bigint not null default 0 check (attempt >= 0),
    claimed_at bigint,
    claim_lease_until bigint,
    rule text collate "C",
    note text not null,
    updated_at bigint not null,
    check ((decision_id is null) <> (undoes_change_id is null)),
    check (change_type <> 'budget' or (currency is not null and expected_minor is not null
        and requested_minor is not null)),
    check (change_type <> 'status' or (expected_status is not null and requested_status is not null)),
    check (status <> 'executing' or intent_minor is not null or intent_status is not null)
);

-- One open change per object and kind: two would undo each other.
create unique index pending_ad_changes_one_open
    on pending_ad_changes (tenant, entity_type, entity_id, change_type)
    where status in ('awaiting_approval', 'pending', 'claimed', 'executing');
create index pending_ad_changes_open on pending_ad_changes (tenant, status, rank, proposed_at)
    where status in ('awaiting_approval', 'pending', 'claimed', 'executing');
create index pending_ad_changes_newest on pending_ad_changes (tenant, proposed_at);

-- The audit log: a chain of hashes per tenant. It holds no personal data, so erasing a contact
-- never breaks it.
create table ad_change_history (
    tenant text collate "C" not null,
    sequence bigint not null check (sequence > 0),
    at bigint not null,
    event text collate "C" not null,
    actor text not null,
    change_id text collate "C",
    entity_type text collate "C" check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text collate "C",
    campaign_id text collate "C",
    before_minor bigint,
    before_currency text collate "C",
    before_status text collate "C",
    after_minor bigint,
    after_currency text collate "C",
    after_status text collate "C",
    rule text collate "C",
    detail text not null,
    vendor_request text,
    previous_hash text collate "C" not null check (length(previous_hash) = 64),
    hash text collate "C" not null check (length(hash) = 64),
    primary key (tenant, sequence),
    check ((entity_type is null) = (entity_id is null))
);

create index ad_change_history_change on ad_change_history (tenant, change_id, sequence)
    where change_id is not null;
create index ad_change_history_event on ad_change_history (tenant, event, at);
-- A change closes once.
create unique index ad_change_history_one_end on ad_change_history (tenant, change_id)
    where change_id is not null
      and event in ('rejected', 'refused', 'completed', 'failed', 'cancelled', 'expired');

create trigger ad_change_history_keeps_its_rows before update on ad_change_history
    for each row execute function roasd_refuse();
create trigger ad_change_history_forgets_nothing before delete on ad_change_history
    for each row execute function roasd_refuse();
create trigger ad_change_history_stays_whole before truncate on ad_change_history
    for each statement execute function roasd_refuse();

-- ---------------------------------------------------------------- what was learned

create table winners (
    tenant text collate "C" not null,
    ad_id text collate "C" not null,
    model text collate "C" not null,
    name text not null,
    text text not null,
    vector bytea not null, -- 32-bit floats, little-endian
    impressions bigint not null,
    clicks bigint not null,
    spend_minor bigint not null,
    pipeline_minor bigint not null,
    currency text collate "C" not null,
    pipeline_currency text collate "C" not null,
    is_winner bigint not null check (is_winner in (0, 1)),
    updated_at bigint not null,
    primary key (tenant, ad_id, model)
);

create table model_registry (
    name text collate "C" not null,
    version text collate "C" not null,
    params_json text not null,
    revision text not null,
    is_champion bigint not null check (is_champion in (0, 1)),
    registered_at bigint not null,
    primary key (name, version)
);

create unique index model_registry_one_champion on model_registry (name) where is_champion = 1;

-- ---------------------------------------------------------------- the machinery

create table job_execution_history (
    id bigint generated by default as identity primary key,
    tenant text collate "C" not null,
    job text collate "C" not null,
    started_at bigint not null,
    ended_at bigint not null,
    outcome text collate "C" not null check (outcome in ('succeeded', 'degraded', 'failed')),
    detail text not null
);

create index job_execution_history_job on job_execution_history (tenant, job, id);

-- The last of each stage's runs, kept beside the history so that it outlives its pruning.
create table job_status (
    tenant text collate "C" not null,
    job text collate "C" not null,
    last_success_at bigint,
    last_end_at bigint,
    detail text not null,
    primary key (tenant, job)
);

create table sync_cursors (
    tenant text collate "C" not null,
    name text collate "C" not null,
    value text not null,
    updated_at bigint not null,
    primary key (tenant, name)
);

-- Alerts and conversion events to send, each once per kind and key.
create table outbox (
    id bigint generated by default as identity primary key,
    tenant text collate "C",
    kind text collate "C" not null,
    dedup_key text collate "C" not null,
    payload_json text not null,
    created_at bigint not null,
    due_at bigint not null,
    status text collate "C" not null check (status in ('waiting', 'claimed', 'sent', 'failed')),
    attempt bigint not null default 0 check (attempt >= 0),
    lease_until bigint,
    sent_at bigint,
    error text,
    unique (kind, dedup_key)
);

create index outbox_due on outbox (due_at, id) where status in ('waiting', 'claimed');

-- What Meta last said about its limits. The gate is the app's, not a tenant's.
create table gate_state (
    scope text collate "C" primary key,
    blocked_until bigint,
    reason text not null,
    usage_percent double precision not null,
    tier text collate "C",
    seen_at bigint not null
);

-- ---------------------------------------------------------------- views, for people and reports
-- Times have a time zone, money is in main units. "Recent" is the seven days before the tenant's
-- newest audit line, so that a rehearsal in simulated time reads like the real thing.

create view v_recent_budget_changes as
select
    h.tenant,
    roasd_time(h.at) as changed_at,
    h.entity_type,
    h.entity_id,
    e.name as entity_name,
    h.campaign_id,
    roasd_money(h.before_minor, c.minor_offset) as budget_before,
    roasd_money(h.after_minor, c.minor_offset) as budget_after,
    h.after_currency as currency,
    round(100.0 * (h.after_minor - h.before_minor) / nullif(h.before_minor, 0), 1) as change_percent,
    h.actor,
    h.rule as clipped_by,
    coalesce(p.reason, h.detail) as reason,
    h.change_id,
    h.vendor_request
from ad_change_history h
join currencies c on c.code = h.after_currency
left join ad_entities e
    on e.tenant = h.tenant and e.entity_type = h.entity_type and e.id = h.entity_id
left join pending_ad_changes p on p.id = h.change_id and p.tenant = h.tenant
where h.event in ('completed', 'foreign_edit')
  and h.after_minor is not null
  and h.at >= (select max(n.at) from ad_change_history n where n.tenant = h.tenant) - 604800000000;

create view v_campaign_activity_summary as
select
    h.tenant,
    h.campaign_id,
    e.name as campaign_name,
    e.status as campaign_status,
    count(*) filter (where h.event = 'proposed') as proposed,
    count(*) filter (where h.event = 'executing') as sent,
    count(*) filter (where h.event = 'completed') as completed,
    count(*) filter (where h.event = 'failed') as failed,
    count(*) filter (where h.event = 'deferred') as held_back,
    count(*) filter (where h.event = 'refused') as refused,
    count(*) filter (where h.event = 'cancelled') as cancelled,
    count(*) filter (where h.event = 'foreign_edit') as edited_by_others,
    roasd_time(max(h.at) filter (where h.event = 'completed')) as last_completed_at,
    roasd_time(max(h.at)) as last_activity_at
from ad_change_history h
left join ad_entities e
    on e.tenant = h.tenant and e.entity_type = 'campaign' and e.id = h.campaign_id
where h.campaign_id is not null
group by h.tenant, h.campaign_id, e.name, e.status;

create view v_safety_check_failures as
select
    h.tenant,
    roasd_time(h.at) as at,
    h.event as outcome,
    h.rule,
    h.detail,
    h.entity_type,
    h.entity_id,
    e.name as entity_name,
    h.campaign_id,
    h.change_id,
    roasd_money(h.before_minor, c.minor_offset) as budget_before,
    roasd_money(h.after_minor, c.minor_offset) as budget_requested,
    h.after_currency as currency,
    h.after_status as status_requested
from ad_change_history h
left join currencies c on c.code = h.after_currency
left join ad_entities e
    on e.tenant = h.tenant and e.entity_type = h.entity_type and e.id = h.entity_id
where h.event in ('deferred', 'refused');

create view v_attribution_recovery_rate as
select
    tenant,
    (roasd_time(at) at time zone 'utc')::date as day,
    count(*) as conversions,
    count(method) as attributed,
    count(*) filter (where method = 'url_param') as by_url_param,
    count(*) filter (where method = 'fingerprint') as by_fingerprint,
    count(*) filter (where method = 'probabilistic') as by_probabilistic,
    round(100.0 * count(method) / count(*), 1) as recovery_percent
from conversion_tracking
group by tenant, (roasd_time(at) at time zone 'utc')::date;

create view v_active_clicks as
select
    tenant,
    id as click_id,
    roasd_time(at) as clicked_at,
    roasd_time(at + 604800000000) as window_closes_at,
    ad_id,
    ad_set_id,
    campaign_id,
    utm_source,
    fbclid is not null as has_fbclid,
    fingerprint is not null as has_fingerprint,
    has_consent = 1 as has_consent
from click_tracking
where at >= (extract(epoch from now())::bigint - 604800) * 1000000;

create view v_unattributed_conversions as
select
    t.tenant,
    t.deal_id,
    t.stage,
    roasd_time(t.at) as converted_at,
    roasd_money(t.value_minor, c.minor_offset) as value,
    t.currency,
    roasd_time(d.retry_at) as tried_again_at,
    d.fault
from conversion_tracking t
join currencies c on c.code = t.currency
left join crm_deals d on d.tenant = t.tenant and d.id = t.deal_id
where t.method is null;

create view v_conversion_attribution_summary as
select
    t.tenant,
    t.stage,
    coalesce(t.method, 'unattributed') as method,
    count(*) as conversions,
    round(avg(t.confidence)::numeric, 3) as average_confidence,
    roasd_money(sum(t.value_minor)::bigint, c.minor_offset) as value,
    t.currency
from conversion_tracking t
join currencies c on c.code = t.currency
group by t.tenant, t.stage, t.method, t.currency, c.minor_offset;

create view v_job_queue_health as
select
    tenant,
    'inbox' as queue,
    count(*) filter (where status = 'waiting') as waiting,
    count(*) filter (where status = 'claimed') as held,
    count(*) filter (where status = 'quarantined') as failed,
    roasd_time(min(received_at) filter (where status in ('waiting', 'claimed'))) as oldest_at
from inbox group by tenant
union all
select
    tenant, 'deal_requests', count(*), 0, 0, roasd_time(min(first_asked_at))
from deal_requests group by tenant
union all
select
    tenant, 'changes',
    count(*) filter (where status in ('awaiting_approval', 'pending')),
    count(*) filter (where status in ('claimed', 'executing')),
    count(*) filter (where status = 'failed'),
    roasd_time(min(proposed_at)
        filter (where status in ('awaiting_approval', 'pending', 'claimed', 'executing')))
from pending_ad_changes group by tenant
union all
select
    tenant, 'outbox',
    count(*) filter (where status = 'waiting'),
    count(*) filter (where status = 'claimed'),
    count(*) filter (where status = 'failed'),
    roasd_time(min(created_at) filter (where status in ('waiting', 'claimed')))
from outbox group by tenant;

create view v_failed_jobs as
select
    tenant,
    'run' as kind,
    job as name,
    outcome,
    roasd_time(ended_at) as at,
    detail
from job_execution_history where outcome <> 'succeeded'
union all
select
    tenant, 'delivery', source || ' ' || id, status, roasd_time(received_at), reason
from inbox where status = 'quarantined'
union all
select
    tenant, 'change', change_type || ' of ' || entity_type || ' ' || entity_id, status,
    roasd_time(updated_at), note
from pending_ad_changes where status = 'failed';

create view v_rate_limit_status as
select
    scope,
    round(usage_percent::numeric, 2) as usage_percent,
    tier,
    roasd_time(blocked_until) as blocked_until,
    coalesce(roasd_time(blocked_until) > now(), false) as is_blocked,
    reason,
    roasd_time(seen_at) as seen_at
from gate_state;

create view v_stage_values as
select
    s.tenant,
    s.stage,
    roasd_money(s.value_minor, c.minor_offset) as value,
    s.currency,
    s.confidence::numeric as confidence,
    s.vendor_ids_json as crm_stage_ids,
    s.is_won = 1 as is_won,
    s.is_lost = 1 as is_lost,
    s.learned_rate::numeric as learned_rate,
    s.learned_from_deals,
    roasd_time(s.updated_at) as updated_at
from synthetic_revenue_config s
join currencies c on c.code = s.currency;
