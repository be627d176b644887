-- Syncs that a person asked for, scans of the CRM's whole list, and merged deals.

-- The last sync asked for of each tenant: asked for again while it waits or runs, it is done once more
-- from the beginning. Counts are of the last progress told.
create table sync_requests (
    tenant text not null primary key,
    asked_at integer not null,
    asked_by text not null,
    is_full integer not null check (is_full in (0, 1)),
    told_at integer,
    done_at integer,
    phase text not null default '',
    failed text,
    listed integer not null default 0,
    searched integer not null default 0,
    deals integer not null default 0,
    changed integer not null default 0,
    missing integer not null default 0,
    contacts integer not null default 0
) strict, without rowid;

create index sync_requests_open on sync_requests (tenant) where done_at is null;

-- The beginning of the last scan of the whole list that named the deal: one that a scan did not name is
-- gone.
alter table crm_deals add column listed_at integer;

-- Deals that became another one, whose credit goes over to it.
create table deal_merges (
    tenant text not null,
    from_id text not null,
    into_id text not null,
    told_at integer not null,
    primary key (tenant, into_id, from_id)
) strict, without rowid;

create index deal_merges_from on deal_merges (tenant, from_id);
