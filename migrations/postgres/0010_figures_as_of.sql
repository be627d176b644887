-- Meta restates the last days for four weeks. What a figure was before it was restated is kept for a
-- while, so that a decision can be looked at again with what was known when it was made. Only values
-- that differed are kept, and only those of days: hours are read for two days alone.
alter table ad_insights add column known_since bigint not null default 0;
update ad_insights set known_since = pulled_at;

create table ad_insight_past (
    tenant text collate "C" not null,
    ad_id text collate "C" not null,
    day text collate "C" not null check (day like '____-__-__'),
    hour bigint not null check (hour = -1),
    ad_set_id text collate "C" not null,
    campaign_id text collate "C" not null,
    impressions bigint not null check (impressions >= 0),
    clicks bigint not null check (clicks >= 0),
    spend_minor bigint not null check (spend_minor >= 0),
    currency text collate "C" not null,
    reach bigint,
    actions_json text collate "C" not null,
    known_since bigint not null,
    known_until bigint not null,
    primary key (tenant, ad_id, day, hour, known_until)
);

-- Deleted by age.
create index ad_insight_past_until on ad_insight_past (tenant, known_until);
