-- SPDX-License-Identifier: Apache-2.0
-- Where other brokers send their notifications.

create table inbox (
    tenant_id        integer not null references tenant,
    inbox_id         text not null,
    key              text not null unique,
    document         jsonb not null,
    token_hash       text not null,
    created_at       timestamptz not null,
    modified_at      timestamptz not null,
    last_received_at timestamptz,
    last_fault       text,
    last_fault_at    timestamptz,
    primary key (tenant_id, inbox_id)
);
comment on column inbox.key is 'Its name in the whole hub, part of the address that notifications are sent to.';
comment on column inbox.last_received_at is 'Written at most every few seconds.';
alter table inbox enable row level security;
alter table inbox force row level security;
create policy tenant_isolation on inbox using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));
