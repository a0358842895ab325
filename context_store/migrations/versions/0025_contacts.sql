-- SPDX-License-Identifier: Apache-2.0
-- Who is told about alarms, what each was told by which channel, and what became of it.

create table contact_document (
    tenant_id   integer not null references tenant,
    kind        text not null check (kind in ('contact', 'group', 'plan')),
    id          text not null,
    document    jsonb not null,
    modified_at timestamptz not null,
    primary key (tenant_id, kind, id)
);

create table contact_notice (
    notice_id     bigint generated always as identity primary key,
    tenant_id     integer not null references tenant,
    contact_id    text not null,
    channel       text not null,
    address       text not null,
    kind          text not null,
    alarm_id      text,
    alarm_step_id bigint,
    state         text not null check (state in ('queued', 'held', 'merged', 'delivered', 'failed')),
    held_for      text check (held_for in ('quiet', 'digest')),
    due_at        timestamptz,
    merged_into   bigint,
    order_key     text not null,
    created_at    timestamptz not null,
    finished_at   timestamptz,
    error         text
);
create index contact_notice_alarm_index on contact_notice (tenant_id, alarm_id, notice_id);
create index contact_notice_contact_index on contact_notice (tenant_id, contact_id, created_at);
create index contact_notice_held_index on contact_notice (due_at) where state = 'held';
create index contact_notice_queued_index on contact_notice (order_key, notice_id) where state = 'queued';
comment on column contact_notice.address is 'As others may see it: of a URL the host only.';
comment on column contact_notice.merged_into is 'The notice that told what this one was held for.';

-- Up to which step people were told; one row, locked by who works on it. What was before is not told.
create table contact_cursor (
    singleton     boolean primary key default true check (singleton),
    alarm_step_id bigint not null
);
insert into contact_cursor (alarm_step_id) select coalesce(max(alarm_step_id), 0) from alarm_step;

alter table delivery_stream drop constraint delivery_stream_kind_check;
alter table delivery_stream add check (kind in ('notification', 'alert', 'contact'));

-- How what is of no subscription is sent: the key that signs.
alter table delivery_stream add column sending jsonb;

do $$
declare
    name text;
begin
    foreach name in array array['contact_document', 'contact_notice'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy tenant_isolation on %I using ('
            '(select current_setting(''minamo.tenant'')::integer) in (tenant_id, 0))', name);
    end loop;
end $$;
