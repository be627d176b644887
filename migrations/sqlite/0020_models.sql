-- Versions of what moves budgets: a policy, the version of its code, and the constants in which it
-- differs from a tenant's configuration. One version decides, challengers decide beside it.
alter table model_registry add column policy text not null default 'roasd';
alter table model_registry add column policy_version integer not null default 1;
alter table model_registry add column is_challenger integer not null default 0 check (is_challenger in (0, 1));
alter table model_registry add column evaluation_json text;

-- There was one model, called as its policy, with the code's version alone as the version.
update model_registry
set policy = name, policy_version = cast(version as integer), version = name || '-' || version,
    name = 'budgets', params_json = '{}'
where name = 'roasd';

create table model_history (
    id integer primary key autoincrement,
    name text not null,
    version text not null,
    event text not null check (event in
        ('registered', 'promoted', 'rolled_back', 'succeeded', 'challenged', 'rested', 'evaluated')),
    before_version text, -- the champion whose place was taken
    actor text not null,
    reason text not null,
    evidence_json text,
    at integer not null
) strict;

create index model_history_of on model_history (name, at, id);

create trigger model_history_keeps_its_rows before update on model_history
begin select raise(abort, 'model_history is append-only'); end;
create trigger model_history_forgets_nothing before delete on model_history
begin select raise(abort, 'model_history is append-only'); end;

-- What challengers decided; nothing of it was sent.
create table shadow_decisions (
    tenant text not null,
    version text not null,
    at integer not null,
    run_id text not null,
    changes_json text not null,
    changes integer not null,
    shared integer not null,
    primary key (tenant, version, at, run_id)
) strict, without rowid;
