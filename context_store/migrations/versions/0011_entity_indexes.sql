-- SPDX-License-Identifier: Apache-2.0
-- Indexes for pages of a type, for the beginnings of ids and for scopes. None is on what changes with a reading.

-- By code points: ids with a common beginning are a range of the primary key, whatever the collation of the database.
alter table entity alter column id type text collate "C";
alter table entity_identity alter column id type text collate "C";

-- The entities of a type in the order of their ids: the first page of a type reads a page, not all of the type, and
-- not all other entities on the way to them. Nearly all entities have one type; the others are found by their second.
create index entity_type_id_index on entity (tenant_id, (types[1]), id);
create index entity_more_types_index on entity using gin (types) where types[2] is not null;
create statistics entity_types_statistics on (types[2]) from entity;

-- What scopes can be asked by: /A/B by /A/B, /A/B/#, /A/# and /#.
alter table entity add column scope_terms text[];
comment on column entity.scope_terms is 'Each scope, and with /# what it lies below or is; null without scopes.';

create function scope_terms(scopes text[]) returns text[] language sql immutable parallel safe
return (
    select array_agg(distinct term) from unnest(scopes) as given (scope)
     cross join lateral (select string_to_array(ltrim(scope, '/'), '/') as levels) split
     cross join lateral (
        select '/' || array_to_string(levels, '/') as term
        union all
        select '/' || array_to_string(levels[:depth] || '#'::text, '/') from generate_series(0, cardinality(levels)) depth
     ) terms
);

create function entity_scoped() returns trigger language plpgsql as $$
begin
    new.scope_terms := minamo.scope_terms(new.scopes);
    return new;
end $$;
create trigger entity_scoped before insert on entity for each row
    when (new.scopes <> '{}') execute function entity_scoped();
create trigger entity_scoped_again before update of scopes on entity for each row
    when (new.scopes is distinct from old.scopes) execute function entity_scoped();

select set_config('minamo.tenant', '0', true);  -- all tenants
update entity set scope_terms = scope_terms(scopes) where scopes <> '{}';
create index entity_scope_terms_index on entity using gin (scope_terms) where scope_terms is not null;

-- The attributes (or sub-attributes) of an entity that are there at a moment, collected or not; see broker/expiry.py.
create function live_attributes(attributes jsonb, moment timestamptz) returns jsonb
language plpgsql stable strict parallel safe as $$
declare
    live jsonb := '{}';
    name text; instances jsonb; kept jsonb; dataset text; instance jsonb; inside jsonb;
begin
    for name, instances in select key, value from jsonb_each(attributes) loop
        kept := '{}';
        for dataset, instance in select key, value from jsonb_each(instances) loop
            continue when (instance ->> 'expiresAt')::timestamptz <= moment;
            if instance ? 'attrs' then
                inside := minamo.live_attributes(instance -> 'attrs', moment);
                instance := instance - 'attrs'
                         || case inside when '{}' then '{}' else jsonb_build_object('attrs', inside) end;
            end if;
            kept := kept || jsonb_build_object(dataset, instance);
        end loop;
        if kept <> '{}' then
            live := live || jsonb_build_object(name, kept);
        end if;
    end loop;
    return live;
end $$;
