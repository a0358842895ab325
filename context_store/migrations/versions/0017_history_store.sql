-- SPDX-License-Identifier: Apache-2.0
-- History behind a view where TimescaleDB keeps it; how long what is kept, by tenant and type of entity.

-- TimescaleDB compresses no table that has row-level security. There, the table is attribute_instance_rows, and
-- attribute_instance a view of what the transaction's tenant may see and write. It is no security_barrier: that would keep
-- the order of the index from queries for the newest instances, and statements come from the hub alone, values bound.
create function history_behind_view() returns void language plpgsql as $$
begin
    alter table attribute_instance rename to attribute_instance_rows;
    drop policy tenant_isolation on attribute_instance_rows;
    alter table attribute_instance_rows no force row level security;
    alter table attribute_instance_rows disable row level security;
    create view attribute_instance as
        select * from attribute_instance_rows
         where (select current_setting('minamo.tenant')::integer) in (tenant_id, 0)
          with local check option;
    -- Compressed tables know no transition tables for what is deleted.
    drop trigger history_removed on attribute_instance_rows;
    create trigger history_removed after delete on attribute_instance_rows for each row
        when (current_setting('minamo.retiring', true) is distinct from 'on') execute function history_row_noted();
end $$;

-- Once for each day of an attribute in a transaction. Notes of others do not count: they may be gone before it commits.
create function history_row_noted() returns trigger language plpgsql as $$
declare
    its_day constant date := timezone('UTC', old.observed_at)::date;
begin
    if old.has_observed_at and old.observed_at < (select noted_until from rollup_state) and not exists (
        select from rollup_note
         where entity_key = old.entity_key and attribute_id = old.attribute_id and day = its_day
           and tenant_id = old.tenant_id and xmin = pg_current_xact_id()::xid) then
        insert into rollup_note (entity_key, tenant_id, attribute_id, day)
        values (old.entity_key, old.tenant_id, old.attribute_id, its_day);
    end if;
    return null;
end $$;

do $$
begin
    if exists (select from pg_extension where extname = 'timescaledb') then
        perform history_behind_view();
    end if;
end $$;

-- How long the tiers of history are kept, in days; null: for ever. Entities of several types keep what the longest says.
create table retention_rule (
    tenant_id   integer not null references tenant,
    entity_type text not null default '',  -- IRI; empty: the types without a rule of their own
    raw_days    integer check (raw_days >= 2),
    days_10m    integer,
    days_1h     integer,
    days_1d     integer,
    primary key (tenant_id, entity_type),
    check (coalesce(raw_days, 'infinity'::float8) <= coalesce(days_10m, 'infinity'::float8)),
    check (coalesce(days_10m, 'infinity'::float8) <= coalesce(days_1h, 'infinity'::float8)),
    check (coalesce(days_1h, 'infinity'::float8) <= coalesce(days_1d, 'infinity'::float8))
);
alter table retention_rule enable row level security;
alter table retention_rule force row level security;
create policy tenant_isolation on retention_rule using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));

-- A retention has removed the instances of that day: the rollups are all that is left of it, and are rolled no more.
alter table rollup_1d add column raw_gone boolean not null default false;
create index rollup_1d_raw_index on rollup_1d (bucket) where not raw_gone;
alter table entity_identity drop column raw_since;
alter table rollup_state add column retired_on date;
