-- Breakers that tripped: they hold on every node and outlive the process. A person who resumes the
-- tenant ends them, and they rest until they would have ended by themselves: the person has looked.

create table breakers (
    tenant text not null,
    breaker text not null,
    tripped_at integer not null,
    tripped_until integer not null,
    rests_until integer,
    reason text not null,
    primary key (tenant, breaker)
) strict, without rowid;
