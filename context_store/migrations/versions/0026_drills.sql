-- SPDX-License-Identifier: Apache-2.0
-- Drills: a recorded flood, or values that somebody sends, through the live chain in a tenant of its own.

create table drill (
    tenant_id       integer not null references tenant,
    drill_id        text not null,
    drill_tenant_id integer not null references tenant,
    title           text not null,
    started_by      text not null,
    started_at      timestamptz not null,
    ended_at        timestamptz,
    record_from     timestamptz,
    record_to       timestamptz,
    position        timestamptz,
    speed           double precision not null,
    series          jsonb not null,
    recipients      text[] not null,
    primary key (tenant_id, drill_id)
);
create unique index drill_tenant_index on drill (drill_tenant_id);
create index drill_running_index on drill (started_at) where ended_at is null;
comment on column drill.position is 'Up to which time of the record values were sent.';
comment on column drill.series is '[{"entityId", "attribute", "datasetId"}, ...] of the record.';
comment on column drill.recipients is 'Addresses that were chosen to get its alerts; none others do.';
comment on column audit_entry.actor is 'Whose credential it was: token:<first digits of its SHA-256>, or local where none is asked for.';
alter table drill enable row level security;
alter table drill force row level security;
-- Seen from within the drill too: whatever happens there has to know that it is one.
create policy tenant_isolation on drill using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, drill_tenant_id, 0));
