-- Why a deal is credited to no ad (`gap`, a word of roasd's), so that coverage can be counted with its
-- reasons without reading what each layer answered. Null while it has a credit, or was last settled
-- before this was kept.

alter table crm_deals add column gap text;
