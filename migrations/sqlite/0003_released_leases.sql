-- Tells a tenant that was handed over from one whose holder fell silent: whoever takes the latter waits
-- until the last call of that holder to a vendor must have ended.

alter table tenant_leases add column is_released integer not null default 0 check (is_released in (0, 1));

-- What the nodes' key of all keyed hashes hashes to: a node with another key would recognise nobody.
alter table daemon_state add column key_check text;
