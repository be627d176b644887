-- Candidates of a conversion are clicks that name an ad: indexes over these alone are smaller, and a
-- look-up of the newest never passes over visits that could not be credited. An fbclid is of one click
-- or a handful, and erasure looks all of them up: its index stays. How common a value is is counted
-- once for many conversions, and so nothing looks user agents up.

drop index click_tracking_fingerprint;
drop index click_tracking_ip;
drop index click_tracking_user_agent;

create index click_tracking_clicks_fingerprint on click_tracking (tenant, fingerprint, at)
    where fingerprint is not null and ad_id is not null;
create index click_tracking_clicks_ip on click_tracking (tenant, ip, at)
    where ip is not null and ad_id is not null;
