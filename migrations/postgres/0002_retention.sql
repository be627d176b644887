-- Finds what is over. A store is rid of old rows every day, a batch at a time; without these each
-- batch would read all that is kept of a tenant, while nobody else can write.

create index inbox_over on inbox (tenant, received_at) where status in ('settled', 'dropped');
create index ad_insights_hours on ad_insights (tenant, day) where hour >= 0;
