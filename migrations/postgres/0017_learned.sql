-- What deals have shown: of each stage, beside what is configured and never in its place; and how
-- often recognised visitors were credited to the right ad, where an id tells which that was.
-- `learned_…` are null until the first night. `learned_rate` is the share of deals that are won in the
-- end, `…_low` and `…_high` hold nine cases in ten.

alter table synthetic_revenue_config
    add column learned_rate_low double precision,
    add column learned_rate_high double precision,
    add column learned_days_to_won double precision,
    add column learned_won bigint,
    add column learned_lost bigint,
    add column learned_minor bigint,
    add column learned_low_minor bigint,
    add column learned_high_minor bigint,
    add column learned_at bigint;

-- `tenth` 6 holds the matches that say 60 to below 70 %. `said`, `matched` and `was_right` are weights:
-- a deal stands for the share of deals like it.
create table attribution_reliability (
    tenant text collate "C" not null,
    method text collate "C" not null check (method in ('fingerprint', 'probabilistic')),
    tenth bigint not null check (tenth between 0 and 9),
    matched double precision not null check (matched > 0),
    said double precision not null,
    was_right double precision not null,
    judged_at bigint not null,
    primary key (tenant, method, tenth)
);

drop view v_stage_values;

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
    roasd_time(s.updated_at) as updated_at,
    roasd_money(s.learned_minor, c.minor_offset) as learned_value,
    roasd_money(s.learned_low_minor, c.minor_offset) as learned_value_low,
    roasd_money(s.learned_high_minor, c.minor_offset) as learned_value_high,
    s.learned_rate_low::numeric as learned_rate_low,
    s.learned_rate_high::numeric as learned_rate_high,
    s.learned_days_to_won::numeric as learned_days_to_won,
    s.learned_won,
    s.learned_lost,
    roasd_time(s.learned_at) as learned_at
from synthetic_revenue_config s
join currencies c on c.code = s.currency;
