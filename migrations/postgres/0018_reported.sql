-- What other programs report of conversions and ads. None of it is a fact of the CRM: it stands beside
-- the ledger of deals and moves no budget by itself.

-- Conversions, each with the ad it was credited to. No visit and no hash: nothing here leads to a person.
create table reported_conversions (
    tenant text collate "C" not null,
    id text collate "C" not null,
    kind text collate "C" not null,
    value_minor bigint not null,
    currency text collate "C" not null,
    occurred_at bigint not null,
    reported_at bigint not null,
    method text collate "C" check (method in ('url_param', 'fingerprint', 'probabilistic')),
    confidence double precision,
    ad_id text collate "C",
    ad_set_id text collate "C",
    campaign_id text collate "C",
    clicked_at bigint,
    reason text collate "C",
    primary key (tenant, id)
);

create index reported_conversions_newest on reported_conversions (tenant, reported_at, id);

-- What an ad is said to have brought: totals that somebody else's CRM job made, or how a recommendation
-- turned out. The newest report of a source stands.
create table reported_results (
    tenant text collate "C" not null,
    source text collate "C" not null check (source in ('crm', 'feedback')),
    ad_id text collate "C" not null,
    value_minor bigint not null,
    spend_minor bigint,
    currency text collate "C" not null,
    reported_at bigint not null,
    primary key (tenant, source, ad_id)
);
