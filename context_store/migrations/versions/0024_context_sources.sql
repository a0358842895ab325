-- SPDX-License-Identifier: Apache-2.0
-- Context source registrations (clause 5.2.9): which other brokers are asked for which entities.

create table csource_registration (
    registration_key bigint generated always as identity primary key,
    tenant_id        integer not null references tenant,
    id               text not null,
    document         jsonb not null,
    context          jsonb,
    expires_at       timestamptz,
    version          bigint not null,
    times_sent       bigint not null default 0,
    times_failed     bigint not null default 0,
    last_success     timestamptz,
    last_failure     timestamptz,
    created_at       timestamptz not null default now(),
    modified_at      timestamptz not null default now(),
    unique (tenant_id, id)
);
comment on column csource_registration.document is 'Members of the wire with names expanded: broker/registrations/document.py.';
comment on column csource_registration.context is 'The @context it was registered with.';
comment on column csource_registration.version is 'Of cache_version "registrations", when this row was last written by the API.';
create index csource_registration_version_index on csource_registration (version);
create index csource_registration_expires_index on csource_registration (expires_at) where expires_at is not null;

alter table csource_registration enable row level security;
alter table csource_registration force row level security;
create policy tenant_isolation on csource_registration using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));

insert into cache_version (name, version) values ('registrations', 1);
