-- Breakers that tripped: they hold on every node and outlive the process. A person who resumes the
-- tenant ends them, and they rest until they would have ended by themselves: the person has looked.

create table breakers (
    tenant text collate "C" not null,
    breaker text collate "C" not null,
    tripped_at bigint not null,
    tripped_until bigint not null,
    rests_until bigint,
    reason text not null,
    primary key (tenant, breaker)
);
