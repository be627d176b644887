-- What a past ad shows beside its text, whether its outcome can be judged, and what an operator said
-- about it: ads brought by hand, and ads that are to lend nothing.

alter table winners add column format text collate "C" not null default '';
alter table winners add column call_to_action text collate "C" not null default '';
alter table winners add column theme text collate "C" not null default '';
alter table winners add column made_at bigint;
alter table winners add column is_mature bigint not null default 0 check (is_mature in (0, 1));
alter table winners add column is_by_hand bigint not null default 0 check (is_by_hand in (0, 1));
alter table winners add column is_left_out bigint not null default 0 check (is_left_out in (0, 1));

-- Vectors that callers bring for ads, in a space of their own: no budget moves by them. A revision is
-- greater than that of any vector kept or replaced before it, so that who has read some reads the rest.
create table brought_vectors (
    tenant text collate "C" not null,
    ad_id text collate "C" not null,
    vector bytea not null,
    metadata text collate "C" not null,
    brought_at bigint not null,
    revision bigint not null,
    primary key (tenant, ad_id)
);

create unique index brought_vectors_by_revision on brought_vectors (tenant, revision);
