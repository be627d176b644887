-- Syncs that a person asked for, scans of the CRM's whole list, and merged deals.

-- The last sync asked for of each tenant: asked for again while it waits or runs, it is done once more
-- from the beginning. Counts are of the last progress told.
create table sync_requests (
    tenant text collate "C" not null primary key,
    asked_at bigint not null,
    asked_by text not null,
    is_full bigint not null check (is_full in (0, 1)),
    told_at bigint,
    done_at bigint,
    phase text not null default '',
    failed text,
    listed bigint not null default 0,
    searched bigint not null default 0,
    deals bigint not null default 0,
    changed bigint not null default 0,
    missing bigint not null default 0,
    contacts bigint not null default 0
);

create index sync_requests_open on sync_requests (tenant) where done_at is null;

-- The beginning of the last scan of the whole list that named the deal: one that a scan did not name is
-- gone.
alter table crm_deals add column listed_at bigint;

-- Deals that became another one, whose credit goes over to it.
create table deal_merges (
    tenant text collate "C" not null,
    from_id text collate "C" not null,
    into_id text collate "C" not null,
    told_at bigint not null,
    primary key (tenant, into_id, from_id)
);

create index deal_merges_from on deal_merges (tenant, from_id);
