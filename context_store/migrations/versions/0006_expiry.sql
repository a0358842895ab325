-- SPDX-License-Identifier: Apache-2.0
-- Transient attributes: when the first attribute instance of an entity expires.

alter table entity add column attributes_expire_at timestamptz;
comment on column entity.attributes_expire_at is
    'Not later than the first expiresAt of an attribute instance or sub-attribute; earlier when that one was replaced.';
create index entity_attributes_expire_index on entity (attributes_expire_at) where attributes_expire_at is not null;

select set_config('minamo.tenant', '0', true);  -- all tenants
update entity e set attributes_expire_at = found.due
  from (select entity_key, min((i.value ->> 'expiresAt')::timestamptz) as due
          from entity cross join lateral jsonb_each(document) a cross join lateral jsonb_each(a.value) i
         group by entity_key) found
 where found.entity_key = e.entity_key and found.due is not null;
