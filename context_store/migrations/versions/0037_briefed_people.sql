-- SPDX-License-Identifier: Apache-2.0
-- People and companies that were briefed: each has a token of its own, until a day, and it can be withdrawn.

create table briefed_person (
    tenant_id    integer not null references tenant,
    person_id    text not null,
    name         text not null,
    briefing     text not null,
    token_sha256 text not null unique,
    created_at   timestamptz not null,
    expires_at   timestamptz not null,
    revoked_at   timestamptz,
    last_seen_at timestamptz,
    primary key (tenant_id, person_id)
);
comment on column briefed_person.briefing is 'What the person was told and agreed to: which text, when.';
comment on column briefed_person.last_seen_at is 'About when the token was last used.';
create index briefed_person_expires_index on briefed_person (expires_at) where revoked_at is null;
alter table briefed_person enable row level security;
alter table briefed_person force row level security;
create policy tenant_isolation on briefed_person using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));
