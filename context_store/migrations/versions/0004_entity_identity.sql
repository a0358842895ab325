-- SPDX-License-Identifier: Apache-2.0
-- Identities of entities: history stays reachable when the entity is gone, or was never in the current state.

-- One row a life of an entity: from its creation to its deletion, or all that the temporal API told of it. An id that
-- is created again begins another life with a key of its own; its temporal evolution is that of all its lives.
create table entity_identity (
    entity_key  bigint primary key,
    tenant_id   integer not null references tenant,
    id          text not null,
    types       text[] not null,
    scopes      text[] not null default '{}',
    created_at  timestamptz not null,
    modified_at timestamptz not null,
    deleted_at  timestamptz
);
create index entity_identity_id_index on entity_identity (tenant_id, id, entity_key desc);
comment on column entity_identity.modified_at is 'When types or scopes were last written; that of attributes is in history.';

-- How the scopes of entities changed: rare, and no attribute, so not in attribute_instance.
create table scope_instance (
    entity_key   bigint not null references entity_identity on delete cascade,
    tenant_id    integer not null references tenant,
    instance_key bigint not null default nextval('instance_key_sequence'),
    scopes       text[] not null,
    removed      boolean not null default false,
    recorded_at  timestamptz not null,
    primary key (entity_key, instance_key)
);

do $$
declare
    name text;
begin
    foreach name in array array['entity_identity', 'scope_instance'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy tenant_isolation on %I using ('
            '(select current_setting(''minamo.tenant'')::integer) in (tenant_id, 0))', name);
    end loop;
end $$;

-- Triggers and not the writers: whoever writes the table entity, no life is forgotten. Updates of documents, which is
-- what readings do, name neither types nor scopes and fire none of them.
create function entity_born() returns trigger language plpgsql as $$
begin
    insert into entity_identity (entity_key, tenant_id, id, types, scopes, created_at, modified_at)
    select entity_key, tenant_id, id, types, scopes, created_at, modified_at from born;
    insert into scope_instance (entity_key, tenant_id, scopes, recorded_at)
    select entity_key, tenant_id, scopes, modified_at from born where scopes <> '{}';
    return null;
end $$;
create trigger entity_born after insert on entity referencing new table as born
    for each statement execute function entity_born();

create function entity_renamed() returns trigger language plpgsql as $$
begin
    update entity_identity set types = new.types, scopes = new.scopes, modified_at = new.modified_at
     where entity_key = new.entity_key;
    if new.scopes is distinct from old.scopes then
        insert into scope_instance (entity_key, tenant_id, scopes, removed, recorded_at)
        values (new.entity_key, new.tenant_id, new.scopes, new.scopes = '{}', new.modified_at);
    end if;
    return null;
end $$;
create trigger entity_renamed after update of types, scopes on entity for each row
    when (old.types is distinct from new.types or old.scopes is distinct from new.scopes)
    execute function entity_renamed();

create function entity_died() returns trigger language plpgsql as $$
begin
    update entity_identity i set deleted_at = clock_timestamp() from died where i.entity_key = died.entity_key;
    return null;
end $$;
create trigger entity_died after delete on entity referencing old table as died
    for each statement execute function entity_died();

select set_config('minamo.tenant', '0', true);  -- all tenants

-- Those that are there, and those whose deletion the change log still remembers.
insert into entity_identity (entity_key, tenant_id, id, types, scopes, created_at, modified_at)
select entity_key, tenant_id, id, types, scopes, created_at, modified_at from entity;
insert into scope_instance (entity_key, tenant_id, scopes, recorded_at)
select entity_key, tenant_id, scopes, modified_at from entity where scopes <> '{}';
insert into entity_identity (entity_key, tenant_id, id, types, created_at, modified_at, deleted_at)
select entity_key, tenant_id, entity_id, entity_types, recorded_at, recorded_at, recorded_at
  from change_event where operation = 'deleted'
    on conflict do nothing;
