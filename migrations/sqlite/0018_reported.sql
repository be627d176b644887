-- What other programs report of conversions and ads. None of it is a fact of the CRM: it stands beside
-- the ledger of deals and moves no budget by itself.

-- Conversions, each with the ad it was credited to. No visit and no hash: nothing here leads to a person.
create table reported_conversions (
    tenant text not null,
    id text not null,
    kind text not null,
    value_minor integer not null,
    currency text not null,
    occurred_at integer not null,
    reported_at integer not null,
    method text check (method in ('url_param', 'fingerprint', 'probabilistic')),
    confidence real,
    ad_id text,
    ad_set_id text,
    campaign_id text,
    clicked_at integer,
    reason text,
    primary key (tenant, id)
) strict, without rowid;

create index reported_conversions_newest on reported_conversions (tenant, reported_at, id);

-- What an ad is said to have brought: totals that somebody else's CRM job made, or how a recommendation
-- turned out. The newest report of a source stands.
create table reported_results (
    tenant text not null,
    source text not null check (source in ('crm', 'feedback')),
    ad_id text not null,
    value_minor integer not null,
    spend_minor integer,
    currency text not null,
    reported_at integer not null,
    primary key (tenant, source, ad_id)
) strict, without rowid;
