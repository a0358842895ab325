-- SPDX-License-Identifier: Apache-2.0
-- Alarms: what people are told about a rule at a station from calm to calm, what they did, and what belongs together.

alter table alert alter column threshold drop not null; -- a condition or silence raised it

-- When silence has to be judged, for rules that ask for it; a timer that outlives every process.
alter table alert_state add column due_at timestamptz;
create index alert_state_due_index on alert_state (due_at) where due_at is not null;

create table incident (
    tenant_id   integer not null references tenant,
    incident_id text not null,
    river       text not null,
    name        jsonb not null,
    opened_at   timestamptz not null,
    closed_at   timestamptz,
    recorded_at timestamptz not null,
    primary key (tenant_id, incident_id)
);
create index incident_river_index on incident (tenant_id, river, recorded_at desc);
create index incident_open_index on incident (tenant_id) where closed_at is null;
comment on column incident.river is 'The river, or the id of the entity of a station of which none is known.';
comment on column incident.closed_at is 'When nothing was raised any more, by the clock of the hub.';

create table alarm (
    tenant_id       integer not null references tenant,
    alarm_id        text not null,
    rule_id         text not null,
    entity_key      bigint not null,
    entity_id       text not null,
    incident_id     text not null,
    status          text not null check (status in ('open', 'acknowledged', 'shelved', 'cleared')),
    stages          text[] not null,
    highest         text not null,
    is_unknown      boolean not null,
    is_unstable     boolean not null,
    opened_at       timestamptz not null,
    cleared_at      timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    shelved_until   timestamptz,
    shelved_by      text,
    shelve_reason   text,
    escalate_after  double precision[] not null,
    escalation_base timestamptz not null,
    escalation      integer not null,
    escalate_at     timestamptz,
    about           jsonb not null,
    recorded_at     timestamptz not null,
    primary key (tenant_id, alarm_id)
);
create index alarm_station_index on alarm (tenant_id, rule_id, entity_key) where cleared_at is null;
create index alarm_opened_index on alarm (tenant_id, opened_at desc, alarm_id desc);
create index alarm_incident_index on alarm (tenant_id, incident_id);
create index alarm_escalation_index on alarm (escalate_at) where escalate_at is not null;
create index alarm_shelf_index on alarm (shelved_until) where shelved_until is not null;

-- Every step of every alarm, numbered in the order in which they become visible (under the lock of alert events).
create table alarm_step (
    alarm_step_id bigint generated always as identity primary key,
    tenant_id     integer not null references tenant,
    alarm_id      text not null,
    kind          text not null,
    document      jsonb not null,
    recorded_at   timestamptz not null
);
create index alarm_step_tenant_index on alarm_step (tenant_id, alarm_step_id);
create index alarm_step_alarm_index on alarm_step (tenant_id, alarm_id, alarm_step_id);

-- What people did: who, when, what, why. Rows are only ever added.
create table audit_entry (
    audit_entry_id bigint generated always as identity primary key,
    tenant_id      integer not null references tenant,
    recorded_at    timestamptz not null,
    actor          text not null,
    name           text,
    action         text not null,
    target         text not null,
    reason         text,
    details        jsonb not null
);
create index audit_entry_tenant_index on audit_entry (tenant_id, audit_entry_id);
comment on column audit_entry.actor is 'Whose credential it was: token:<first digits of its SHA-256>, or anonymous where none is asked for.';
comment on column audit_entry.name is 'Who the person said to be.';

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are only ever added', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger audit_entry_append_only before update or delete on audit_entry
    for each row execute function refuse_change();
create trigger audit_entry_no_truncate before truncate on audit_entry
    for each statement execute function refuse_change();
create trigger alarm_step_append_only before update or delete on alarm_step
    for each row execute function refuse_change();

do $$
declare
    name text;
begin
    foreach name in array array['incident', 'alarm', 'alarm_step', 'audit_entry'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy tenant_isolation on %I using ('
            '(select current_setting(''minamo.tenant'')::integer) in (tenant_id, 0))', name);
    end loop;
end $$;
