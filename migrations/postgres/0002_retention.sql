-- Finds what is over. A store is rid of old rows every day, a batch at a time; without these each
-- batch would read all that is kept of a tenant. The first looks at no column that a claim changes, so
-- that a claim is still written in place.

create index inbox_over on inbox (tenant, received_at) where settled_at is not null;
create index ad_insights_hours on ad_insights (tenant, day) where hour >= 0;
