-- SPDX-License-Identifier: Apache-2.0
-- Entity maps (clause 4.5.25): the entities that a query found, kept for paging while they come and go.

create table entity_map (
    tenant_id  integer not null references tenant,
    map_key    bigint generated always as identity unique,
    id         text not null,
    query_hash bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    primary key (tenant_id, id)
);
create index entity_map_expires_index on entity_map (expires_at);
comment on column entity_map.query_hash is
    'SHA-256 of the query: only the query that made a map removes entities from it that no longer match.';

create table entity_map_entry (
    tenant_id integer not null references tenant,
    map_key   bigint not null references entity_map (map_key) on delete cascade,
    position  bigint not null,
    entity_id text not null,
    primary key (map_key, position)
);
comment on column entity_map_entry.position is 'From 1, in the order of the query; gaps are entities that left.';

do $$
declare
    name text;
begin
    foreach name in array array['entity_map', 'entity_map_entry'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy tenant_isolation on %I using ('
            '(select current_setting(''minamo.tenant'')::integer) in (tenant_id, 0))', name);
    end loop;
end $$;
