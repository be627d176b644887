-- Decisions are listed newest first, of a tenant and of one object, a page at a time.

create index decisions_newest on decisions (tenant, sequence);
create index decisions_of_object on decisions (tenant, entity_id, sequence);
