-- Leads of Meta's lead forms, the strongest link there is between a person and an ad, and erasure on
-- request. Addresses and numbers of people are keyed hashes, as devices are.

alter table crm_contacts add column email_hash text collate "C";
alter table crm_contacts add column phone_hash text collate "C";

create index crm_contacts_email on crm_contacts (tenant, email_hash) where email_hash is not null;
create index crm_contacts_phone on crm_contacts (tenant, phone_hash) where phone_hash is not null;

-- A lead that a webhook told of; `due_at` says when it is to be read, and is null once it was read or
-- given up (then `fault` says why).
create table meta_leads (
    tenant text collate "C" not null,
    id text collate "C" not null,
    told_at bigint not null,
    due_at bigint,
    attempt bigint not null default 0 check (attempt >= 0),
    fault text,
    made_at bigint,
    form_id text collate "C",
    ad_id text collate "C",
    ad_set_id text collate "C",
    campaign_id text collate "C",
    email_hash text collate "C",
    phone_hash text collate "C",
    primary key (tenant, id)
);

create index meta_leads_due on meta_leads (tenant, due_at) where due_at is not null;
create index meta_leads_told on meta_leads (tenant, told_at);
create index meta_leads_email on meta_leads (tenant, email_hash) where email_hash is not null;
create index meta_leads_phone on meta_leads (tenant, phone_hash) where phone_hash is not null;

-- Whom roasd has forgotten, and what that came to. The id stays, so that a later read of the CRM does
-- not bring the person back.
create table erasures (
    tenant text collate "C" not null,
    contact_id text collate "C" not null,
    erased_at bigint not null,
    asked_by text collate "C" not null,
    contacts bigint not null,
    deals bigint not null,
    visits bigint not null,
    leads bigint not null,
    deliveries bigint not null,
    primary key (tenant, contact_id)
);
