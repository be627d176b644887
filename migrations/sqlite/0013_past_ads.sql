-- What a past ad shows beside its text, whether its outcome can be judged, and what an operator said
-- about it: ads brought by hand, and ads that are to lend nothing.

alter table winners add column format text not null default '';
alter table winners add column call_to_action text not null default '';
alter table winners add column theme text not null default '';
alter table winners add column made_at integer;
alter table winners add column is_mature integer not null default 0 check (is_mature in (0, 1));
alter table winners add column is_by_hand integer not null default 0 check (is_by_hand in (0, 1));
alter table winners add column is_left_out integer not null default 0 check (is_left_out in (0, 1));

-- Vectors that callers bring for ads, in a space of their own: no budget moves by them. A revision is
-- greater than that of any vector kept or replaced before it, so that who has read some reads the rest.
create table brought_vectors (
    tenant text not null,
    ad_id text not null,
    vector blob not null,
    metadata text not null,
    brought_at integer not null,
    revision integer not null,
    primary key (tenant, ad_id)
) strict;

create unique index brought_vectors_by_revision on brought_vectors (tenant, revision);
