-- Crediting a conversion reads up to some dozens of clicks that share a device or an address. The
-- indexes that find them now hold all that is compared, in the order it is asked for, so that a
-- look-up reads a few pages that lie side by side instead of one of the table for each click. They
-- answer what nodes of an older release ask as well.

drop index click_tracking_clicks_fingerprint;
drop index click_tracking_clicks_ip;

create index click_tracking_by_fingerprint on click_tracking (tenant, fingerprint, at, id)
    include (ad_id, ad_set_id, campaign_id, has_consent, ip, user_agent)
    where fingerprint is not null and ad_id is not null;
create index click_tracking_by_ip on click_tracking (tenant, ip, at, id)
    include (ad_id, ad_set_id, campaign_id, has_consent, fingerprint, user_agent)
    where ip is not null and ad_id is not null;
