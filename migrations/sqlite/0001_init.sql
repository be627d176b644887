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
-- * This file is never edited once released: its checksum is kept in every database.

-- Marks the file as roasd's ("roas"), so that no other program's database is migrated by mistake.
pragma application_id = 1919902067;

-- Minor units in one main unit, by Meta's table, so that reports show yen and dollars right.
create table currencies (
    code text primary key,
    minor_offset integer not null check (minor_offset in (1, 100))
) strict, without rowid;

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
    tenant text primary key,
    name text not null,
    created_at integer, -- null while only a hold has named the tenant
    paused_by text, paused_reason text, paused_since integer,
    parked_by text, parked_reason text, parked_since integer,
    suspended_by text, suspended_reason text, suspended_since integer
) strict, without rowid;

-- One row: the pause of the whole daemon.
create table daemon_state (
    id integer primary key check (id = 1),
    paused_by text, paused_reason text, paused_since integer
) strict;

insert into daemon_state (id) values (1);

create table frozen_objects (
    tenant text not null,
    entity_type text not null check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text not null,
    frozen_until integer not null,
    reason text not null,
    primary key (tenant, entity_type, entity_id)
) strict, without rowid;

-- Processes that share this store, and which of them works for which tenant. `fence` only grows.
create table nodes (
    id text primary key,
    host text not null,
    version text not null,
    started_at integer not null,
    heartbeat_at integer not null
) strict, without rowid;

create table tenant_leases (
    tenant text primary key,
    node_id text not null,
    fence integer not null check (fence > 0),
    lease_until integer not null
) strict, without rowid;

-- Only a hash of each token is kept.
create table api_tokens (
    id text primary key,
    tenant text not null,
    name text not null,
    token_hash text not null unique,
    scopes text not null,
    created_at integer not null,
    expires_at integer,
    last_used_at integer,
    revoked_at integer
) strict, without rowid;

-- ---------------------------------------------------------------- what came in

-- Deliveries with their bytes. The key stays when the delivery is settled, since vendors repeat
-- themselves for days. A part that could not be read is a row of its own, with no key.
create table inbox (
    id integer primary key autoincrement,
    tenant text not null,
    source text not null,
    dedup_key text,
    parent_id integer,
    body blob not null,
    received_at integer not null,
    status text not null check (status in ('waiting', 'claimed', 'settled', 'quarantined', 'dropped')),
    attempt integer not null default 0 check (attempt >= 0),
    lease_until integer,
    reason text,
    settled_at integer
) strict;

create unique index inbox_once on inbox (tenant, source, dedup_key);
create index inbox_open on inbox (tenant, id) where status in ('waiting', 'claimed');
create index inbox_quarantine on inbox (tenant, id) where status = 'quarantined';

-- Visits. IP, device and user agent are keyed hashes, and absent without consent.
create table click_tracking (
    tenant text not null,
    id text not null,
    at integer not null,
    fbclid text,
    ad_id text,
    ad_set_id text,
    campaign_id text,
    utm_source text,
    has_consent integer not null check (has_consent in (0, 1)),
    fingerprint text,
    ip text,
    user_agent text,
    primary key (tenant, id),
    check (has_consent = 1 or (fingerprint is null and ip is null and user_agent is null))
) strict, without rowid;

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
    tenant text not null,
    deal_id text not null,
    first_asked_at integer not null,
    last_asked_at integer not null,
    primary key (tenant, deal_id)
) strict, without rowid;

create index deal_requests_age on deal_requests (tenant, first_asked_at, deal_id);

-- A deal and the credit it has. It is unsettled while `revision` is above `settled_revision`.
create table crm_deals (
    tenant text not null,
    id text not null,
    name text not null,
    pipeline_id text not null,
    stage_id text not null,
    amount_decimal text,
    amount_currency text,
    created_at integer not null,
    updated_at integer not null,
    is_archived integer not null check (is_archived in (0, 1)),
    read_at integer not null,
    revision integer not null,
    settled_revision integer not null,
    settled_at integer,
    retry_at integer,
    fault text,
    method text check (method in ('url_param', 'fingerprint', 'probabilistic')),
    confidence real check (confidence > 0 and confidence <= 1),
    ad_id text,
    ad_set_id text,
    campaign_id text,
    visit_id text,
    clicked_at integer,
    reason text,
    primary key (tenant, id),
    check ((method is null) = (ad_id is null)),
    check ((method is null) = (confidence is null))
) strict, without rowid;

create index crm_deals_unsettled on crm_deals (tenant, id) where revision > settled_revision;
create index crm_deals_retry on crm_deals (tenant, retry_at) where retry_at is not null;
create index crm_deals_created on crm_deals (tenant, created_at);
create index crm_deals_faulty on crm_deals (tenant, id) where fault is not null;

create table crm_deal_contacts (
    tenant text not null,
    deal_id text not null,
    contact_id text not null,
    primary key (tenant, deal_id, contact_id)
) strict, without rowid;

create index crm_deal_contacts_by_contact on crm_deal_contacts (tenant, contact_id);

-- A stage that a deal entered at a time, once, whatever brought the news.
create table crm_events (
    tenant text not null,
    deal_id text not null,
    entered_at integer not null,
    stage_id text not null,
    primary key (tenant, deal_id, entered_at, stage_id)
) strict, without rowid;

-- What contacts tell about their click. No name, no mail address, no phone number.
create table crm_contacts (
    tenant text not null,
    id text not null,
    roasd_click_id text,
    facebook_click_id text,
    meta_lead_id text,
    ad_id text,
    ad_set_id text,
    campaign_id text,
    first_url text,
    created_at integer,
    updated_at integer not null,
    read_at integer not null,
    primary key (tenant, id)
) strict, without rowid;

create table crm_pipeline_stages (
    tenant text not null,
    pipeline_id text not null,
    id text not null,
    label text not null,
    place integer not null,
    is_won integer not null check (is_won in (0, 1)),
    is_lost integer not null check (is_lost in (0, 1)),
    read_at integer not null,
    primary key (tenant, pipeline_id, id)
) strict, without rowid;

-- ---------------------------------------------------------------- attribution and revenue

-- A stage event as a conversion, with the credit it has now.
create table conversion_tracking (
    tenant text not null,
    deal_id text not null,
    at integer not null,
    stage text not null,
    value_minor integer not null,
    currency text not null,
    method text check (method in ('url_param', 'fingerprint', 'probabilistic')),
    confidence real,
    ad_id text,
    ad_set_id text,
    campaign_id text,
    visit_id text,
    clicked_at integer,
    updated_at integer not null,
    primary key (tenant, deal_id, at, stage)
) strict, without rowid;

create index conversion_tracking_at on conversion_tracking (tenant, at);

-- What each layer answered, each time it was asked.
create table attribution_performance_log (
    id integer primary key autoincrement,
    tenant text not null,
    deal_id text not null,
    at integer not null,
    method text not null check (method in ('url_param', 'fingerprint', 'probabilistic')),
    succeeded integer not null check (succeeded in (0, 1)),
    confidence real not null,
    reason text not null,
    runners_up_json text not null
) strict;

create index attribution_performance_log_deal on attribution_performance_log (tenant, deal_id);
create index attribution_performance_log_at on attribution_performance_log (tenant, at);

-- The stage values in force, mirrored from the configuration, and what was learned beside them.
create table synthetic_revenue_config (
    tenant text not null,
    stage text not null,
    value_minor integer not null,
    currency text not null,
    confidence real not null check (confidence between 0 and 1),
    vendor_ids_json text not null,
    is_won integer not null check (is_won in (0, 1)),
    is_lost integer not null check (is_lost in (0, 1)),
    learned_rate real check (learned_rate between 0 and 1),
    learned_from_deals integer,
    updated_at integer not null,
    primary key (tenant, stage)
) strict, without rowid;

-- Differences, so that a deal's entries sum to the value of its present stage.
create table revenue_ledger (
    sequence integer primary key autoincrement,
    tenant text not null,
    deal_id text not null,
    ad_id text,
    ad_set_id text,
    campaign_id text,
    method text check (method in ('url_param', 'fingerprint', 'probabilistic')),
    confidence real not null check (confidence between 0 and 1),
    kind text not null check (kind in ('stage', 'amount', 'reversal', 'recredit')),
    stage text,
    amount_minor integer not null,
    currency text not null,
    is_cash integer not null check (is_cash in (0, 1)),
    occurred_at integer not null,
    recorded_at integer not null
) strict;

create index revenue_ledger_deal on revenue_ledger (tenant, deal_id, sequence);
create index revenue_ledger_occurred on revenue_ledger (tenant, occurred_at);

create trigger revenue_ledger_keeps_its_rows before update on revenue_ledger
begin select raise(abort, 'revenue_ledger is append-only: add an entry that corrects it'); end;
create trigger revenue_ledger_forgets_nothing before delete on revenue_ledger
begin select raise(abort, 'revenue_ledger is append-only: add an entry that corrects it'); end;

-- ---------------------------------------------------------------- the ad account, as last read

create table ad_accounts (
    tenant text primary key,
    account_id text not null,
    name text not null,
    account_status integer not null,
    currency text not null,
    time_zone text not null,
    min_daily_budget_minor integer,
    read_at integer not null
) strict, without rowid;

-- Campaigns, ad sets and ads with their creatives. `gone_at`: no longer in the account.
-- `budget_set_at`, `status_set_at`: our own last write, which an older read must not undo.
create table ad_entities (
    tenant text not null,
    entity_type text not null check (entity_type in ('campaign', 'adset', 'ad')),
    id text not null,
    campaign_id text not null,
    ad_set_id text,
    name text not null,
    status text not null check (status in ('ACTIVE', 'PAUSED', 'ARCHIVED', 'DELETED')),
    effective_status text not null,
    budget_type text check (budget_type in ('daily', 'lifetime')),
    budget_minor integer,
    currency text not null,
    first_daily_budget_minor integer,
    first_currency text not null,
    objective text,
    shares_budgets integer check (shares_budgets in (0, 1)),
    has_budget_schedule integer check (has_budget_schedule in (0, 1)),
    smart_promotion text,
    learning_status text,
    learning_last_edit_at integer,
    creative_id text,
    creative_title text,
    creative_body text,
    creative_description text,
    creative_call_to_action text,
    creative_format text,
    creative_link text,
    creative_url_tags text,
    created_at integer not null,
    updated_at integer not null,
    first_seen_at integer not null,
    gone_at integer,
    budget_set_at integer,
    status_set_at integer,
    primary key (tenant, entity_type, id),
    check ((budget_type is null) = (budget_minor is null))
) strict, without rowid;

-- Budgets and statuses that an object came to hold, whoever set them.
create table ad_entity_history (
    sequence integer primary key autoincrement,
    tenant text not null,
    entity_type text not null check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text not null,
    campaign_id text not null,
    at integer not null,
    field text not null check (field in ('budget', 'status')),
    from_minor integer,
    from_currency text,
    to_minor integer,
    to_currency text,
    from_status text,
    to_status text,
    is_ours integer not null check (is_ours in (0, 1)),
    change_id text
) strict;

create index ad_entity_history_at on ad_entity_history (tenant, field, at);

-- Figures by ad and window. A restated row replaces the earlier one. `hour` is -1 for a whole day.
create table ad_insights (
    tenant text not null,
    ad_id text not null,
    day text not null check (day like '____-__-__'),
    hour integer not null check (hour between -1 and 23),
    ad_set_id text not null,
    campaign_id text not null,
    impressions integer not null check (impressions >= 0),
    clicks integer not null check (clicks >= 0),
    spend_minor integer not null check (spend_minor >= 0),
    currency text not null,
    reach integer,
    actions_json text not null,
    pulled_at integer not null,
    primary key (tenant, ad_id, day, hour)
) strict, without rowid;

create index ad_insights_day on ad_insights (tenant, day, hour);

-- When the newest figures of each kind were pulled.
create table insight_watermarks (
    tenant text not null,
    granularity text not null check (granularity in ('daily', 'hourly')),
    pulled_at integer not null,
    primary key (tenant, granularity)
) strict, without rowid;

-- ---------------------------------------------------------------- decisions and changes

-- One run of the policy with all it saw: with its seed it can be replayed bit for bit.
create table decision_runs (
    id text primary key,
    tenant text not null,
    at integer not null,
    seed integer not null, -- the 64 bits of an unsigned number
    policy text not null,
    version text not null,
    inputs_json text not null,
    flags_json text not null
) strict;

create index decision_runs_at on decision_runs (tenant, at);

create table decisions (
    sequence integer primary key autoincrement,
    id text not null unique,
    tenant text not null,
    run_id text not null references decision_runs (id),
    entity_type text not null check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text not null,
    entity_name text not null,
    action text not null,
    value_from text not null,
    value_to text not null,
    paragraph text not null,
    rationale_json text not null,
    change_id text,
    at integer not null
) strict;

create index decisions_run on decisions (tenant, run_id);
create index decisions_put_aside on decisions (tenant, entity_type, entity_id, sequence)
    where action in ('kill', 'rotate', 'return');

create trigger decisions_keep_their_rows before update on decisions
begin select raise(abort, 'decisions is append-only: decide again'); end;
create trigger decisions_forget_nothing before delete on decisions
begin select raise(abort, 'decisions is append-only: decide again'); end;

-- The queue. `executing` is the committed intent to call Meta; its value is `intent_…`.
create table pending_ad_changes (
    id text primary key,
    tenant text not null,
    entity_type text not null check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text not null,
    entity_name text not null,
    campaign_id text not null,
    change_type text not null check (change_type in ('budget', 'status', 'bid')),
    currency text,
    expected_minor integer,
    requested_minor integer check (requested_minor >= 0),
    intent_minor integer,
    expected_status text,
    requested_status text check (requested_status in ('ACTIVE', 'PAUSED')),
    intent_status text,
    reason text not null,
    decision_id text,
    undoes_change_id text,
    confidence real not null,
    needs_approval integer not null check (needs_approval in (0, 1)),
    rank integer not null,
    earliest_execute_at integer not null,
    expires_at integer not null,
    proposed_at integer not null,
    status text not null check (status in ('awaiting_approval', 'pending', 'claimed', 'executing',
        'completed', 'failed', 'cancelled', 'rejected', 'refused', 'expired')),
    attempt integer not null default 0 check (attempt >= 0),
    claimed_at integer,
    claim_lease_until integer,
    rule text,
    note text not null,
    updated_at integer not null,
    check ((decision_id is null) <> (undoes_change_id is null)),
    check (change_type <> 'budget' or (currency is not null and expected_minor is not null
        and requested_minor is not null)),
    check (change_type <> 'status' or (expected_status is not null and requested_status is not null)),
    check (status <> 'executing' or intent_minor is not null or intent_status is not null)
) strict;

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
    tenant text not null,
    sequence integer not null check (sequence > 0),
    at integer not null,
    event text not null,
    actor text not null,
    change_id text,
    entity_type text check (entity_type in ('campaign', 'adset', 'ad')),
    entity_id text,
    campaign_id text,
    before_minor integer,
    before_currency text,
    before_status text,
    after_minor integer,
    after_currency text,
    after_status text,
    rule text,
    detail text not null,
    vendor_request text,
    previous_hash text not null check (length(previous_hash) = 64),
    hash text not null check (length(hash) = 64),
    primary key (tenant, sequence),
    check ((entity_type is null) = (entity_id is null))
) strict, without rowid;

create index ad_change_history_change on ad_change_history (tenant, change_id, sequence)
    where change_id is not null;
create index ad_change_history_event on ad_change_history (tenant, event, at);
-- A change closes once.
create unique index ad_change_history_one_end on ad_change_history (tenant, change_id)
    where change_id is not null
      and event in ('rejected', 'refused', 'completed', 'failed', 'cancelled', 'expired');

create trigger ad_change_history_keeps_its_rows before update on ad_change_history
begin select raise(abort, 'ad_change_history is append-only'); end;
create trigger ad_change_history_forgets_nothing before delete on ad_change_history
begin select raise(abort, 'ad_change_history is append-only'); end;

-- ---------------------------------------------------------------- what was learned

create table winners (
    tenant text not null,
    ad_id text not null,
    model text not null,
    name text not null,
    text text not null,
    vector blob not null, -- 32-bit floats, little-endian
    impressions integer not null,
    clicks integer not null,
    spend_minor integer not null,
    pipeline_minor integer not null,
    currency text not null,
    pipeline_currency text not null,
    is_winner integer not null check (is_winner in (0, 1)),
    updated_at integer not null,
    primary key (tenant, ad_id, model)
) strict;

create table model_registry (
    name text not null,
    version text not null,
    params_json text not null,
    revision text not null,
    is_champion integer not null check (is_champion in (0, 1)),
    registered_at integer not null,
    primary key (name, version)
) strict, without rowid;

create unique index model_registry_one_champion on model_registry (name) where is_champion = 1;

-- ---------------------------------------------------------------- the machinery

create table job_execution_history (
    id integer primary key autoincrement,
    tenant text not null,
    job text not null,
    started_at integer not null,
    ended_at integer not null,
    outcome text not null check (outcome in ('succeeded', 'degraded', 'failed')),
    detail text not null
) strict;

create index job_execution_history_job on job_execution_history (tenant, job, id);

-- The last of each stage's runs, kept beside the history so that it outlives its pruning.
create table job_status (
    tenant text not null,
    job text not null,
    last_success_at integer,
    last_end_at integer,
    detail text not null,
    primary key (tenant, job)
) strict, without rowid;

create table sync_cursors (
    tenant text not null,
    name text not null,
    value text not null,
    updated_at integer not null,
    primary key (tenant, name)
) strict, without rowid;

-- Alerts and conversion events to send, each once per kind and key.
create table outbox (
    id integer primary key autoincrement,
    tenant text,
    kind text not null,
    dedup_key text not null,
    payload_json text not null,
    created_at integer not null,
    due_at integer not null,
    status text not null check (status in ('waiting', 'claimed', 'sent', 'failed')),
    attempt integer not null default 0 check (attempt >= 0),
    lease_until integer,
    sent_at integer,
    error text,
    unique (kind, dedup_key)
) strict;

create index outbox_due on outbox (due_at, id) where status in ('waiting', 'claimed');

-- What Meta last said about its limits. The gate is the app's, not a tenant's.
create table gate_state (
    scope text primary key,
    blocked_until integer,
    reason text not null,
    usage_percent real not null,
    tier text,
    seen_at integer not null
) strict, without rowid;

-- ---------------------------------------------------------------- views, for people and reports
-- Times are ISO 8601 in UTC, money is in main units. "Recent" is the seven days before the tenant's
-- newest audit line, so that a rehearsal in simulated time reads like the real thing.

create view v_recent_budget_changes as
select
    h.tenant,
    strftime('%Y-%m-%dT%H:%M:%SZ', h.at / 1000000, 'unixepoch') as changed_at,
    h.entity_type,
    h.entity_id,
    e.name as entity_name,
    h.campaign_id,
    round(h.before_minor * 1.0 / c.minor_offset, 2) as budget_before,
    round(h.after_minor * 1.0 / c.minor_offset, 2) as budget_after,
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
    sum(h.event = 'proposed') as proposed,
    sum(h.event = 'executing') as sent,
    sum(h.event = 'completed') as completed,
    sum(h.event = 'failed') as failed,
    sum(h.event = 'deferred') as held_back,
    sum(h.event = 'refused') as refused,
    sum(h.event = 'cancelled') as cancelled,
    sum(h.event = 'foreign_edit') as edited_by_others,
    strftime('%Y-%m-%dT%H:%M:%SZ', max(case when h.event = 'completed' then h.at end) / 1000000,
        'unixepoch') as last_completed_at,
    strftime('%Y-%m-%dT%H:%M:%SZ', max(h.at) / 1000000, 'unixepoch') as last_activity_at
from ad_change_history h
left join ad_entities e
    on e.tenant = h.tenant and e.entity_type = 'campaign' and e.id = h.campaign_id
where h.campaign_id is not null
group by h.tenant, h.campaign_id, e.name, e.status;

create view v_safety_check_failures as
select
    h.tenant,
    strftime('%Y-%m-%dT%H:%M:%SZ', h.at / 1000000, 'unixepoch') as at,
    h.event as outcome,
    h.rule,
    h.detail,
    h.entity_type,
    h.entity_id,
    e.name as entity_name,
    h.campaign_id,
    h.change_id,
    round(h.before_minor * 1.0 / c.minor_offset, 2) as budget_before,
    round(h.after_minor * 1.0 / c.minor_offset, 2) as budget_requested,
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
    strftime('%Y-%m-%d', at / 1000000, 'unixepoch') as day,
    count(*) as conversions,
    count(method) as attributed,
    sum(coalesce(method = 'url_param', 0)) as by_url_param,
    sum(coalesce(method = 'fingerprint', 0)) as by_fingerprint,
    sum(coalesce(method = 'probabilistic', 0)) as by_probabilistic,
    round(100.0 * count(method) / count(*), 1) as recovery_percent
from conversion_tracking
group by tenant, strftime('%Y-%m-%d', at / 1000000, 'unixepoch');

create view v_active_clicks as
select
    tenant,
    id as click_id,
    strftime('%Y-%m-%dT%H:%M:%SZ', at / 1000000, 'unixepoch') as clicked_at,
    strftime('%Y-%m-%dT%H:%M:%SZ', at / 1000000 + 604800, 'unixepoch') as window_closes_at,
    ad_id,
    ad_set_id,
    campaign_id,
    utm_source,
    fbclid is not null as has_fbclid,
    fingerprint is not null as has_fingerprint,
    has_consent
from click_tracking
where at >= (cast(strftime('%s', 'now') as integer) - 604800) * 1000000;

create view v_unattributed_conversions as
select
    t.tenant,
    t.deal_id,
    t.stage,
    strftime('%Y-%m-%dT%H:%M:%SZ', t.at / 1000000, 'unixepoch') as converted_at,
    round(t.value_minor * 1.0 / c.minor_offset, 2) as value,
    t.currency,
    strftime('%Y-%m-%dT%H:%M:%SZ', d.retry_at / 1000000, 'unixepoch') as tried_again_at,
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
    round(avg(t.confidence), 3) as average_confidence,
    round(sum(t.value_minor) * 1.0 / c.minor_offset, 2) as value,
    t.currency
from conversion_tracking t
join currencies c on c.code = t.currency
group by t.tenant, t.stage, t.method, t.currency, c.minor_offset;

create view v_job_queue_health as
select
    tenant,
    'inbox' as queue,
    sum(status = 'waiting') as waiting,
    sum(status = 'claimed') as held,
    sum(status = 'quarantined') as failed,
    strftime('%Y-%m-%dT%H:%M:%SZ',
        min(case when status in ('waiting', 'claimed') then received_at end) / 1000000,
        'unixepoch') as oldest_at
from inbox group by tenant
union all
select
    tenant, 'deal_requests', count(*), 0, 0,
    strftime('%Y-%m-%dT%H:%M:%SZ', min(first_asked_at) / 1000000, 'unixepoch')
from deal_requests group by tenant
union all
select
    tenant, 'changes',
    sum(status in ('awaiting_approval', 'pending')),
    sum(status in ('claimed', 'executing')),
    sum(status = 'failed'),
    strftime('%Y-%m-%dT%H:%M:%SZ',
        min(case when status in ('awaiting_approval', 'pending', 'claimed', 'executing')
            then proposed_at end) / 1000000, 'unixepoch')
from pending_ad_changes group by tenant
union all
select
    tenant, 'outbox', sum(status = 'waiting'), sum(status = 'claimed'), sum(status = 'failed'),
    strftime('%Y-%m-%dT%H:%M:%SZ',
        min(case when status in ('waiting', 'claimed') then created_at end) / 1000000, 'unixepoch')
from outbox group by tenant;

create view v_failed_jobs as
select
    tenant,
    'run' as kind,
    job as name,
    outcome,
    strftime('%Y-%m-%dT%H:%M:%SZ', ended_at / 1000000, 'unixepoch') as at,
    detail
from job_execution_history where outcome <> 'succeeded'
union all
select
    tenant, 'delivery', source || ' ' || id, status,
    strftime('%Y-%m-%dT%H:%M:%SZ', received_at / 1000000, 'unixepoch'), reason
from inbox where status = 'quarantined'
union all
select
    tenant, 'change', change_type || ' of ' || entity_type || ' ' || entity_id, status,
    strftime('%Y-%m-%dT%H:%M:%SZ', updated_at / 1000000, 'unixepoch'), note
from pending_ad_changes where status = 'failed';

create view v_rate_limit_status as
select
    scope,
    usage_percent,
    tier,
    strftime('%Y-%m-%dT%H:%M:%SZ', blocked_until / 1000000, 'unixepoch') as blocked_until,
    coalesce(blocked_until > cast(strftime('%s', 'now') as integer) * 1000000, 0) as is_blocked,
    reason,
    strftime('%Y-%m-%dT%H:%M:%SZ', seen_at / 1000000, 'unixepoch') as seen_at
from gate_state;

create view v_stage_values as
select
    s.tenant,
    s.stage,
    round(s.value_minor * 1.0 / c.minor_offset, 2) as value,
    s.currency,
    s.confidence,
    s.vendor_ids_json as crm_stage_ids,
    s.is_won,
    s.is_lost,
    s.learned_rate,
    s.learned_from_deals,
    strftime('%Y-%m-%dT%H:%M:%SZ', s.updated_at / 1000000, 'unixepoch') as updated_at
from synthetic_revenue_config s
join currencies c on c.code = s.currency;
