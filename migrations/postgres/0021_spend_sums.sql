-- What an account spent by the day and by the hour is summed before each change. These indexes hold all
-- that is summed, in the order in which it is asked for; between them they lead to every row.
create index ad_insights_spend_by_day on ad_insights (tenant, day, currency, spend_minor)
    where hour = -1;
create index ad_insights_spend_by_hour on ad_insights (tenant, day, hour, currency, spend_minor)
    where hour >= 0;
drop index ad_insights_day;
drop index ad_insights_hours;
