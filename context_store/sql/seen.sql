-- SPDX-License-Identifier: Apache-2.0
-- What callers see who are not staff. Their transactions look for tables in the schema minamo_seen and nowhere else
-- (context_store.database), so a table without a view here does not exist for them. The views are made anew by every
-- upgrade and whenever this file has changed (context_store.migrate). minamo.audience is the number of the caller's
-- audience, minamo.caller a name for what is the caller's own.

-- It may be there, empty, made by somebody who may make schemas for a role that may not.
do $$
begin
    if to_regnamespace('minamo_seen') is null then
        create schema minamo_seen;
    end if;
end $$;

-- The rules that keep something from the caller; the last are those of the hub: devices are nobody's business but the
-- city's, and of alerts not who works on them.
create view minamo_seen.hidden as
    select r.tenant_id, r.entity_type, r.entity_id, r.attribute from minamo.audience_rule r
     where r.audience > (select current_setting('minamo.audience')::smallint)
    union all
    select (select current_setting('minamo.tenant')::integer), b.* from (values
        ('https://smartdatamodels.org/dataModel.Device/Device', '', ''),
        ('https://uri.etsi.org/ngsi-ld/default-context/Device', '', ''),
        ('https://smartdatamodels.org/dataModel.Alert/Alert', '', 'https://uri.etsi.org/ngsi-ld/default-context/acknowledgedBy')
    ) b where (select current_setting('minamo.audience')::smallint) < 2;

-- Attributes that no entity has for the caller: what models say of times that are not for it (api/alerting/forecasts.py).
create function minamo_seen.forecasts_of_others() returns text[] language sql stable as $$
    select case current_setting('minamo.audience')
           when '0' then array['https://uri.etsi.org/ngsi-ld/default-context/forecast',
                               'https://uri.etsi.org/ngsi-ld/default-context/briefedForecast']
           else array['https://uri.etsi.org/ngsi-ld/default-context/forecast'] end
$$;

create function minamo_seen.forecasts_for_others() returns text[] language sql immutable as $$
    select array['https://uri.etsi.org/ngsi-ld/default-context/briefedForecast',
                 'https://uri.etsi.org/ngsi-ld/default-context/publicForecast']
$$;

-- The attributes of an entity that the caller must not see. Where a model forecasts one of them, all that models say of the
-- entity goes with it (the series by itself are forecast_line's to show).
create function minamo_seen.hidden_attributes(of_tenant integer, its_types text[], its_id text) returns text[]
    language sql stable as $$
    with h as materialized (
        select distinct attribute from minamo_seen.hidden
         where tenant_id = of_tenant and attribute <> ''
           and (entity_type = any(its_types) or entity_id = its_id or (entity_type = '' and entity_id = '')))
    select coalesce((select array_agg(attribute) from h), '{}') || minamo_seen.forecasts_of_others()
        || case when exists (select from minamo.forecast_series s
                               join minamo.term t on t.term_id = s.attribute_id join h on h.attribute = t.name
                              where s.tenant_id = of_tenant and s.entity_id = its_id)
                then minamo_seen.forecasts_for_others() else '{}' end
$$;

-- A document without these attributes, and when what is left of it was last modified.
create function minamo_seen.newest(attributes jsonb, otherwise timestamptz) returns timestamptz
    language sql stable as $$
    select coalesce(max((i.value ->> 'modifiedAt')::timestamptz), otherwise)
      from jsonb_each(attributes) a cross join jsonb_each(a.value) i
$$;

-- Rules whose alerts the caller may see: of this audience, about attributes that are not kept from it.
create view minamo_seen.alert_rule as
    select r.* from minamo.alert_rule r
     where r.audience <= (select current_setting('minamo.audience')::smallint)
       and not exists (select from minamo_seen.hidden h
                        where h.tenant_id = r.tenant_id and h.attribute <> ''
                          and jsonb_path_query_array(r.document, '$.**.attribute') ? h.attribute);

-- Whole entities are hidden by a rule or by a scope that says so, alerts as an alert that is hidden (below). What is looked
-- up once for a query is a subquery without a reference to the row.
create view minamo_seen.not_alerts as
    select k.* from minamo.entity_identity k
     where not (k.types && (select coalesce(array_agg(entity_type), '{}') from minamo_seen.hidden
                             where attribute = '' and entity_type <> ''))
       and k.id <> all (select entity_id from minamo_seen.hidden where attribute = '' and entity_id <> '')
       and not (k.scopes && case (select current_setting('minamo.audience')::smallint)
                            when 0 then '{/audience/briefed,/audience/staff}'::text[] else '{/audience/staff}'::text[] end);

create view minamo_seen.alert as
    select a.* from minamo.alert a
     where a.rule_id in (select r.rule_id from minamo_seen.alert_rule r where r.tenant_id = a.tenant_id)
       and exists (select from minamo_seen.not_alerts k where k.entity_key = a.entity_key);
create view minamo_seen.alert_event as
    select v.* from minamo.alert_event v
     where exists (select from minamo_seen.alert a where a.tenant_id = v.tenant_id and a.alert_id = v.alert_id);

-- Whether an entity is that of an alert which the caller must not see; those that others made are like any other.
create function minamo_seen.is_hidden_alert(of_tenant integer, its_id text) returns boolean language sql stable as $$
    select exists (select from minamo.alert where tenant_id = of_tenant and alert_id = its_id)
       and not exists (select from minamo_seen.alert where tenant_id = of_tenant and alert_id = its_id)
$$;

create view minamo_seen.entity_identity as
    select k.* from minamo_seen.not_alerts k
     where case when k.types @> '{https://smartdatamodels.org/dataModel.Alert/Alert}'
                then not minamo_seen.is_hidden_alert(k.tenant_id, k.id) else true end;

-- The same attributes once for a query, by type, id or * for all: an array for each, so that a row costs a look into it.
create function minamo_seen.hidden_by() returns jsonb language sql stable as $$
    select coalesce(jsonb_object_agg(chosen, attributes), '{}') from (
        select coalesce(nullif(entity_type, ''), nullif(entity_id, ''), '*') as chosen, jsonb_agg(attribute) as attributes
          from minamo_seen.hidden
         where attribute <> '' and tenant_id = current_setting('minamo.tenant')::integer group by 1) h
$$;

-- Entities that no rule about attributes can be about (touched) keep their document. Where models say something for callers,
-- what goes with a hidden attribute has to be looked up (hidden_attributes).
do $$
declare
    hidden constant text := 'array(select jsonb_array_elements_text((select minamo_seen.hidden_by()) -> k.chosen)
                                     from unnest(e.types || array[''*'', e.id]) k (chosen))
                              || (select minamo_seen.forecasts_of_others())';
begin
    execute format($view$create view minamo_seen.entity as
    select e.tenant_id, e.entity_key, e.id, e.types,
           case when not e.touched then e.document - (select minamo_seen.forecasts_of_others())
                when e.document ?| (select minamo_seen.forecasts_for_others())
                then e.document - minamo_seen.hidden_attributes(e.tenant_id, e.types, e.id)
                else e.document - (%1$s) end as document,
           e.location, e.scopes, e.scope_terms, e.created_at,
           case when e.touched and e.document ?| (select minamo_seen.forecasts_for_others())
                then minamo_seen.newest(e.document - minamo_seen.hidden_attributes(e.tenant_id, e.types, e.id), e.created_at)
                when e.touched and e.document ?| (%1$s)
                then minamo_seen.newest(e.document - (%1$s), e.created_at)
                when e.document ?| (select minamo_seen.forecasts_of_others())
                then minamo_seen.newest(e.document - (select minamo_seen.forecasts_of_others()), e.created_at)
                else e.modified_at end as modified_at,
           e.expires_at, e.attributes_expire_at, e.look_until
      from (select *, types && (select coalesce(array_agg(entity_type), '{}') from minamo_seen.hidden
                                 where attribute <> '' and entity_type <> '')
                      or id = any ((select coalesce(array_agg(entity_id), '{}') from minamo_seen.hidden
                                     where attribute <> '' and entity_id <> '')::text[])
                      or (select bool_or(entity_type = '' and entity_id = '') is true from minamo_seen.hidden) as touched
              from minamo.entity) e
     where not (e.types && (select coalesce(array_agg(entity_type), '{}') from minamo_seen.hidden
                             where attribute = '' and entity_type <> ''))
       and e.id <> all ((select coalesce(array_agg(entity_id), '{}') from minamo_seen.hidden
                          where attribute = '' and entity_id <> '')::text[])
       and not (e.scopes && (select case current_setting('minamo.audience')
                                    when '0' then '{/audience/briefed,/audience/staff}'::text[]
                                    else '{/audience/staff}'::text[] end))
       and case when e.types @> '{https://smartdatamodels.org/dataModel.Alert/Alert}'
                then not minamo_seen.is_hidden_alert(e.tenant_id, e.id) else true end$view$, hidden);
end $$;

-- Whether one attribute of an entity is kept from the caller. Asked only about attributes that some rule names.
create function minamo_seen.is_hidden(of_tenant integer, its_key bigint, its_attribute integer) returns boolean
    language sql stable as $$
    select exists (select from minamo.entity_identity k
                    where k.entity_key = its_key
                      and (select name from minamo.term where term_id = its_attribute)
                          = any (minamo_seen.hidden_attributes(of_tenant, k.types, k.id)))
$$;

-- History: whole entities are not found (entity_identity); of the others, these attributes are not there.
do $$
declare
    source text;
begin
    foreach source in array array['attribute_instance', 'rollup_10m', 'rollup_1h', 'rollup_1d', 'rollup_note'] loop
        execute format($view$create view minamo_seen.%I as
            select h.* from minamo.%I h
             where case when h.attribute_id = any (
                             (select coalesce(array_agg(t.term_id), '{}') from minamo.term t
                               where t.name in (select attribute from minamo_seen.hidden where attribute <> '')
                                  or t.name = any (minamo_seen.forecasts_of_others())
                                  or t.name = any (minamo_seen.forecasts_for_others()))::integer[])
                        then not minamo_seen.is_hidden(h.tenant_id, h.entity_key, h.attribute_id)
                        else true end$view$, source, source);
    end loop;
end $$;
create view minamo_seen.scope_instance as
    select s.* from minamo.scope_instance s
     where exists (select from minamo_seen.entity_identity k where k.entity_key = s.entity_key);

-- What says nothing of anything that is measured.
create view minamo_seen.tenant as select * from minamo.tenant;
create view minamo_seen.term as select * from minamo.term;
create view minamo_seen.rollup_state as select * from minamo.rollup_state;
create view minamo_seen.retention_rule as select * from minamo.retention_rule;
create view minamo_seen.jsonld_context as select * from minamo.jsonld_context;
create view minamo_seen.cache_version as select * from minamo.cache_version;
create function minamo_seen.scope_terms(scopes text[]) returns text[] language sql immutable parallel safe
    as $$ select minamo.scope_terms(scopes) $$;
create function minamo_seen.live_attributes(attributes jsonb, moment timestamptz) returns jsonb
    language sql stable parallel safe as $$ select minamo.live_attributes(attributes, moment) $$;

-- Sensors as the live page shows them, with what they measure of it. Not who may send, and with what secret.
create view minamo_seen.device as
    select d.tenant_id, d.device_id, d.name, d.entity_id, d.entity_types, d.profile, d.location, d.expected_interval,
           d.service_from, d.service_until, m.attributes
      from minamo.device d
     cross join lateral (
           select jsonb_agg(a.value order by a.ordinality) as attributes
             from jsonb_array_elements(d.attributes) with ordinality a
            where a.value ->> 'attribute' <> all (
                  minamo_seen.hidden_attributes(d.tenant_id, d.entity_types, d.entity_id))) m
     where m.attributes is not null
       and exists (select from minamo_seen.entity e where e.tenant_id = d.tenant_id and e.id = d.entity_id);

-- Forecasts, as far ahead as the caller may look.
create function minamo_seen.until(public_until timestamptz, briefed_until timestamptz) returns timestamptz
    language sql stable as $$
    select case current_setting('minamo.audience') when '0' then public_until else greatest(public_until, briefed_until) end
$$;
create view minamo_seen.forecast_run as
    select * from minamo.forecast_run r where minamo_seen.until(r.public_until, r.briefed_until) is not null;
create view minamo_seen.forecast_line as
    select l.tenant_id, l.run_key, l.entity_id, l.attribute_id, l.line, l.unit_code, l.public_until, l.briefed_until,
           l.valid_at[:n.times] as valid_at, l.value[:n.times] as value
      from minamo.forecast_line l
     cross join lateral (select count(*)::integer as times from unnest(l.valid_at) t (at)
                          where t.at <= minamo_seen.until(l.public_until, l.briefed_until)) n
     where n.times > 0
       and exists (select from minamo_seen.entity e
                    where e.tenant_id = l.tenant_id and e.id = l.entity_id
                      and not minamo_seen.is_hidden(l.tenant_id, e.entity_key, l.attribute_id));
create view minamo_seen.forecast_series as
    select s.* from minamo.forecast_series s
     where exists (select from minamo_seen.forecast_line l
                    where l.run_key = s.run_key and l.entity_id = s.entity_id and l.attribute_id = s.attribute_id);
create view minamo_seen.forecast_layer as
    select l.* from minamo.forecast_layer l where l.valid_at <= minamo_seen.until(l.public_until, l.briefed_until);

-- What is the caller's own.
create view minamo_seen.subscription as
    select * from minamo.subscription where owner <> '' and owner = (select current_setting('minamo.caller'))
      with local check option;
create view minamo_seen.delivery as
    select d.* from minamo.delivery d
     where d.subscription_key in (select subscription_key from minamo_seen.subscription);
create view minamo_seen.delivery_stream as
    select s.* from minamo.delivery_stream s
     where s.subscription_key in (select subscription_key from minamo_seen.subscription);
create view minamo_seen.entity_map as
    select * from minamo.entity_map
     where audience = (select current_setting('minamo.audience')::smallint)
       and owner = (select current_setting('minamo.caller'))
      with local check option;
create view minamo_seen.entity_map_entry as
    select m.* from minamo.entity_map_entry m where m.map_key in (select map_key from minamo_seen.entity_map);
