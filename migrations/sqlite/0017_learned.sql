-- What deals have shown: of each stage, beside what is configured and never in its place; and how
-- often recognised visitors were credited to the right ad, where an id tells which that was.
-- `learned_…` are null until the first night. `learned_rate` is the share of deals that are won in the
-- end, `…_low` and `…_high` hold nine cases in ten.

alter table synthetic_revenue_config add column learned_rate_low real;
alter table synthetic_revenue_config add column learned_rate_high real;
alter table synthetic_revenue_config add column learned_days_to_won real;
alter table synthetic_revenue_config add column learned_won integer;
alter table synthetic_revenue_config add column learned_lost integer;
alter table synthetic_revenue_config add column learned_minor integer;
alter table synthetic_revenue_config add column learned_low_minor integer;
alter table synthetic_revenue_config add column learned_high_minor integer;
alter table synthetic_revenue_config add column learned_at integer;

-- `tenth` 6 holds the matches that say 60 to below 70 %. `said`, `matched` and `was_right` are weights:
-- a deal stands for the share of deals like it.
create table attribution_reliability (
    tenant text not null,
    method text not null check (method in ('fingerprint', 'probabilistic')),
    tenth integer not null check (tenth between 0 and 9),
    matched real not null check (matched > 0),
    said real not null,
    was_right real not null,
    judged_at integer not null,
    primary key (tenant, method, tenth)
) strict, without rowid;

drop view v_stage_values;

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
    strftime('%Y-%m-%dT%H:%M:%SZ', s.updated_at / 1000000, 'unixepoch') as updated_at,
    round(s.learned_minor * 1.0 / c.minor_offset, 2) as learned_value,
    round(s.learned_low_minor * 1.0 / c.minor_offset, 2) as learned_value_low,
    round(s.learned_high_minor * 1.0 / c.minor_offset, 2) as learned_value_high,
    s.learned_rate_low,
    s.learned_rate_high,
    s.learned_days_to_won,
    s.learned_won,
    s.learned_lost,
    strftime('%Y-%m-%dT%H:%M:%SZ', s.learned_at / 1000000, 'unixepoch') as learned_at
from synthetic_revenue_config s
join currencies c on c.code = s.currency;
