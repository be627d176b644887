-- Leads of Meta's lead forms, the strongest link there is between a person and an ad, and erasure on
-- request. Addresses and numbers of people are keyed hashes, as devices are.

alter table crm_contacts add column email_hash text;
alter table crm_contacts add column phone_hash text;

create index crm_contacts_email on crm_contacts (tenant, email_hash) where email_hash is not null;
create index crm_contacts_phone on crm_contacts (tenant, phone_hash) where phone_hash is not null;

-- A lead that a webhook told of; `due_at` says when it is to be read, and is null once it was read or
-- given up (then `fault` says why).
create table meta_leads (
    tenant text not null,
    id text not null,
    told_at integer not null,
    due_at integer,
    attempt integer not null default 0 check (attempt >= 0),
    fault text,
    made_at integer,
    form_id text,
    ad_id text,
    ad_set_id text,
    campaign_id text,
    email_hash text,
    phone_hash text,
    primary key (tenant, id)
) strict, without rowid;

create index meta_leads_due on meta_leads (tenant, due_at) where due_at is not null;
create index meta_leads_told on meta_leads (tenant, told_at);
create index meta_leads_email on meta_leads (tenant, email_hash) where email_hash is not null;
create index meta_leads_phone on meta_leads (tenant, phone_hash) where phone_hash is not null;

-- Whom roasd has forgotten, and what that came to. The id stays, so that a later read of the CRM does
-- not bring the person back.
create table erasures (
    tenant text not null,
    contact_id text not null,
    erased_at integer not null,
    asked_by text not null,
    contacts integer not null,
    deals integer not null,
    visits integer not null,
    leads integer not null,
    deliveries integer not null,
    primary key (tenant, contact_id)
) strict, without rowid;
