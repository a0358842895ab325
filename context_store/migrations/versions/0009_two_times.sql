-- SPDX-License-Identifier: Apache-2.0
-- Two times: an instance is believed from recorded_at until before superseded_at. And how good an instance is.

alter table attribute_instance add column superseded_at timestamptz;
alter table attribute_instance add column quality smallint;
comment on column attribute_instance.superseded_at is 'When the hub ceased to believe it: a correction came, or it was deleted; null: believed.';
comment on column attribute_instance.quality is 'A number of context_store.history.QUALITY_NUMBER; null: nothing is said.';

alter table scope_instance add column superseded_at timestamptz;
comment on column scope_instance.superseded_at is 'When the hub ceased to believe it; null: believed.';

-- Until now, all values for one moment were kept side by side: each but the last is superseded by the next.
select set_config('minamo.tenant', '0', true);  -- all tenants
update attribute_instance i set superseded_at = c.next_at
  from (select entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id, value_hash,
               lead(recorded_at) over (
                   partition by entity_key, tenant_id, attribute_id, observed_at, dataset_id, source_id
                   order by recorded_at, instance_key) as next_at
          from attribute_instance where has_observed_at) c
 where c.next_at is not null
   and i.entity_key = c.entity_key and i.tenant_id = c.tenant_id and i.attribute_id = c.attribute_id
   and i.observed_at = c.observed_at and i.dataset_id = c.dataset_id and i.source_id = c.source_id
   and i.value_hash = c.value_hash;

-- What is newer than the current value and than this cannot be a correction of anything: nobody needs to look.
alter table entity add column look_until timestamptz;
comment on column entity.look_until is
    'The newest observedAt in history that the current values do not tell of: replaced by something older, or only in history.';
update entity e set look_until = h.newest
  from (select entity_key, max(observed_at) as newest from attribute_instance where has_observed_at
         group by entity_key) h
 where h.entity_key = e.entity_key;
