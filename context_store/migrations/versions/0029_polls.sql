-- SPDX-License-Identifier: Apache-2.0
-- Documents of others that are fetched on a schedule.

create table poll (
    tenant_id     integer not null references tenant,
    poll_id       text not null,
    document      jsonb not null,
    headers       jsonb not null,
    paused        boolean not null default false,
    created_at    timestamptz not null,
    modified_at   timestamptz not null,
    next_due      timestamptz not null,
    lease         uuid,
    lease_until   timestamptz,
    etag          text,
    last_modified text,
    state         jsonb not null default '{}',
    seen          jsonb not null default '{}',
    primary key (tenant_id, poll_id)
);
comment on column poll.headers is 'Sent along, such as a key; never shown.';
comment on column poll.lease is 'Of the process that fetches it now, until lease_until.';
comment on column poll.state is 'How the last fetches went: {"lastAttemptAt", "lastSuccessAt", "error", "failures", ...}.';
comment on column poll.seen is 'By station, the digest of the record that was taken in last.';
create index poll_due_index on poll (next_due) where not paused;
alter table poll enable row level security;
alter table poll force row level security;
create policy tenant_isolation on poll using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));
