-- SPDX-License-Identifier: Apache-2.0
-- Contexts that clients store with the hub (clause 5.13), beside those it fetched: kinds, identifiers, use.

alter table jsonld_context
    add column kind text not null default 'Cached' check (kind in ('Cached', 'Hosted', 'ImplicitlyCreated')),
    add column local_id text not null default 'urn:ngsi-ld:jsonldContext:' || gen_random_uuid(),
    add column expires_at timestamptz,
    add column last_usage timestamptz,
    add column uses bigint not null default 0;
create unique index jsonld_context_local_id_index on jsonld_context (tenant_id, local_id);
comment on column jsonld_context.url is 'Where a cached document was fetched; the local_id of the others.';
comment on column jsonld_context.fetched_at is 'When the document was fetched, confirmed or given.';
comment on column jsonld_context.expires_at is 'What the server of a cached document said; null: it said nothing.';

insert into cache_version (name, version) values ('contexts', 1);
