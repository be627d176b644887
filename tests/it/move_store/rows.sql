-- Rows of every table that is copied, with what is easily lost on the way: the greatest and smallest
-- numbers, real numbers of many digits, no value beside an empty one, bytes of every kind, characters
-- that other formats escape, and names that other collations order otherwise.

create temp table n (i integer primary key, tenant text, odd text);
insert into n
with recursive up (i) as (select 1 union all select i + 1 from up where i < 40)
select
    i,
    case i % 3 when 0 then 'a_z' when 1 then 'acme' else 'a-b' end,
    case i % 8
        when 0 then '' when 1 then '\N' when 2 then 'a' || char(9, 10, 13) || 'b\\n'
        when 3 then 'Ünïcödé 日本 🎈' when 4 then '{"a": "\u0041", "b": null}' when 5 then '''"$1;--'
        when 6 then ' spaces ' else char(1, 127, 160, 8232, 65533) end
from up;

insert into tenant_state
select distinct tenant, tenant || ' GmbH', 1790000000000001, null, null, null, 'cli:ada', '', 0,
    'daemon', 'was suspended', -1
from n where true
on conflict (tenant) do nothing;

update daemon_state
set paused_by = 'cli:ada', paused_reason = 'Löschung', paused_since = 1790000000000003, key_check = 'k1';

insert into breakers select tenant, 'breaker-' || i, i, i + 9, nullif(i % 2, 0), odd from n;
insert into frozen_objects
select tenant, case i % 2 when 0 then 'ad' else 'adset' end, 'o-' || i, 9223372036854775807, odd from n;

insert into api_tokens
select 't-' || i, tenant, odd, 'hash-' || i, '["read"]', i, null, nullif(i % 3, 0), null from n;

insert into inbox (tenant, source, dedup_key, parent_id, body, received_at, status, attempt, lease_until,
    reason, settled_at)
select tenant, 'hubspot', case when i % 5 > 0 then 'key ' || i || odd end, nullif(i % 7, 0),
    case i % 4 when 0 then x'' when 1 then x'00ff0a5c00' when 2 then randomblob(3000) else cast(odd as blob) end,
    1790000000000000 + i,
    case i % 5 when 0 then 'waiting' when 1 then 'claimed' when 2 then 'settled' when 3 then 'quarantined'
        else 'dropped' end,
    i % 4, nullif(i % 2, 0), case when i % 5 = 3 then odd end, case when i % 5 in (2, 4) then i end
from n;

insert into click_tracking
select tenant, 'visit-' || i, i - 20, odd, 'ad-' || i, null, 'c', odd, i % 2,
    case when i % 2 then 'f' || i end, case when i % 2 then '' end, case when i % 2 then odd end
from n;

insert into deal_requests select tenant, 'deal-' || i, i, 1790000000000000 + i from n;

insert into crm_deals
select tenant, 'deal-' || i, odd, 'p', 's', case when i % 2 then '0012.3400' end, nullif('EUR', ''), -i, i, i % 2, i,
    i, i - 1, nullif(i % 3, 0), nullif(i % 4, 0), case i % 9 when 0 then odd end,
    case when i % 2 then 'fingerprint' end, case when i % 2 then 1.0 / (i + 2) end,
    case when i % 2 then 'ad-' || i end, null, null, null, null, odd, nullif(i % 6, 0),
    case when i % 2 then null else 'no_visit' end
from n;

insert into crm_deal_contacts select tenant, 'deal-' || i, case i % 2 when 0 then 'A' else 'a' end || i from n;
insert into crm_events select tenant, 'deal-' || i, -9223372036854775808 + i, 's' || odd from n;
insert into crm_contacts
select tenant, 'c' || i, odd, null, '', null, null, null, 'https://x/?' || odd, null, i, i,
    case when i % 2 then 'e' || i end, case when i % 3 then odd end from n;
insert into meta_leads
select tenant, 'lead-' || i, i, nullif(i % 2, 0), i, case when i % 2 then odd end, -i, odd, 'ad-' || i, null, 'c',
    null, 'p' || i from n;
insert into deal_merges select tenant, 'deal-' || i, 'deal-' || (i + 1), i from n;
insert into sync_requests
select tenant, i, odd, i % 2, nullif(i % 3, 0), nullif(i % 4, 0), odd, case when i % 2 then odd end, i, -i, i, 0, i, i
from n group by tenant;
insert into erasures select tenant, 'gone-' || i, i, odd, 1, i, 0, 2, 9007199254740993 from n;
insert into crm_pipeline_stages
select tenant, case i % 2 when 0 then 'P' else 'p' end, 's-' || i, odd, i, i % 2, 0, i from n;

insert into conversion_tracking
select tenant, 'deal-' || i, i, 'won', -i, 'JPY', null, 0.1 * i, null, null, null, null, null, i from n;
insert into attribution_performance_log (tenant, deal_id, at, method, succeeded, confidence, reason,
    runners_up_json)
select tenant, 'deal-' || i, i, 'probabilistic', i % 2,
    case i when 1 then 5e-324 when 2 then 1.7976931348623157e308 when 3 then -0.0 else i / 7.0 end, odd, '[]'
from n;
insert into reported_conversions
select tenant, 'order-' || i, odd, -i, 'USD', i, i + 1, null, null, null, null, null, null, odd from n;
insert into reported_results
select tenant, case i % 2 when 0 then 'crm' else 'feedback' end, 'ad-' || i, i, nullif(i % 2, 0), 'JPY', i from n;
insert into synthetic_revenue_config
select tenant, 'stage-' || i, 9007199254740993, 'USD', 0.30000000000000004, odd, i % 2, 0, nullif(i / 41.0, 0), i, i,
    0.1, i / 3.0, 2.5, i, nullif(i, 3), -9007199254740993, null, i, nullif(i, 2)
from n;
insert into attribution_reliability
select tenant, 'fingerprint', i % 10, 0.1 + i, 0.30000000000000004, i / 7.0, i from n where true
on conflict do nothing;
insert into revenue_ledger (tenant, deal_id, ad_id, ad_set_id, campaign_id, method, confidence, kind, stage,
    amount_minor, currency, is_cash, occurred_at, recorded_at)
select tenant, 'deal-' || i, null, null, null, 'url_param', 1.0, 'reversal', odd, -9007199254740993 + i, 'USD',
    i % 2, i, i
from n;

insert into ad_accounts
select distinct tenant, 'act_' || tenant, 'Ä', 1, 'USD', 'Europe/Berlin', null, 7 from n where true
on conflict (tenant) do nothing;
insert into ad_entities (tenant, entity_type, id, campaign_id, name, status, effective_status, budget_type,
    budget_minor, currency, first_currency, shares_budgets, creative_body, created_at, updated_at,
    first_seen_at)
select tenant, 'ad', 'e-' || i, 'c', odd, 'ACTIVE', odd, case when i % 2 then 'daily' end,
    case when i % 2 then i end, 'USD', 'USD', nullif(i % 2, 0), odd, i, i, i
from n;
insert into ad_entity_history (tenant, entity_type, entity_id, campaign_id, at, field, from_minor, is_ours)
select tenant, 'ad', 'e-' || i, 'c', i, 'budget', nullif(i, 3), i % 2 from n;
insert into ad_insights
select tenant, 'ad-' || i, '2026-11-' || (10 + i % 20), i % 25 - 1, 's', 'c', i, i, 9223372036854775807, 'USD', null,
    odd, i, i
from n;
insert into ad_insight_past
select tenant, 'ad-' || i, '2026-11-' || (10 + i % 20), -1, 's', 'c', i, i, 9223372036854775807, 'USD', null,
    odd, i, i + 1
from n;
insert into insight_watermarks
select distinct tenant, 'daily', 1790000000000009 from n where true
on conflict (tenant, granularity) do nothing;

insert into decision_runs
select 'run-' || i, tenant, i, case i when 1 then -1 else i end, 'roasd', '1', odd, '[]' from n;
insert into decisions (id, tenant, run_id, entity_type, entity_id, entity_name, action, value_from, value_to,
    paragraph, rationale_json, change_id, at)
select 'decision-' || i, tenant, 'run-' || (41 - i), 'ad', 'e', odd, 'kill', odd, '', odd, '{}', null, i from n;

insert into pending_ad_changes (id, tenant, entity_type, entity_id, entity_name, campaign_id, change_type,
    currency, expected_minor, requested_minor, reason, decision_id, confidence, needs_approval, rank,
    earliest_execute_at, expires_at, proposed_at, status, note, updated_at)
select 'change-' || i, tenant, 'adset', 's-' || i, odd, 'c', 'budget', 'USD', i, i + 1, odd, 'd', 0.7, i % 2, i, i, i, i,
    case i % 2 when 0 then 'pending' else 'completed' end, odd, i
from n;

insert into winners
select tenant, 'ad-' || i, 'm', odd, odd, randomblob(i * 4), i, i, i, i, 'USD', 'EUR', i % 2, i,
    odd, odd, odd, nullif(i, 2), i % 2, (i + 1) % 2, i % 2 from n;
insert into brought_vectors
select tenant, 'ad-' || i, randomblob(i * 4), '{}', i, i from n;
insert into model_registry
select 'policy-' || i, '1', odd, 'r', i % 2, i, odd, i, (i + 1) % 2, nullif(odd, '') from n;
insert into model_history (name, version, event, before_version, actor, reason, evidence_json, at)
select 'policy-' || i, '1', 'promoted', null, odd, odd, odd, i from n;
insert into shadow_decisions select tenant, 'version-' || i, i, 'run-' || i, odd, i, i from n;
insert into job_execution_history (tenant, job, started_at, ended_at, outcome, detail)
select tenant, 'sync', i, i + 1, 'degraded', odd from n;
insert into job_status select tenant, 'job-' || i, null, i, odd from n;
insert into sync_cursors select tenant, 'cursor-' || i, odd, i from n;
insert into outbox (tenant, kind, dedup_key, payload_json, created_at, due_at, status)
select nullif(tenant, 'a_z'), 'alert', 'k-' || i, odd, i, i, 'waiting' from n;
insert into gate_state select 'scope-' || i, nullif(i % 3, 0), odd, i / 3.0, null, i from n;

-- The last numbers are given to nobody again.
delete from inbox where id = 40;
delete from outbox where id > 30;
