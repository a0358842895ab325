-- SPDX-License-Identifier: Apache-2.0
-- Rollups of history: of each attribute (and dataset) what its numbers were in 10 minutes, an hour, a day of UTC.
-- Only what is believed and has an observedAt counts. See docs/decisions (rollups of history).

do $$
declare
    name text;
begin
    foreach name in array array['rollup_10m', 'rollup_1h', 'rollup_1d'] loop
        execute format($table$create table %I (
            entity_key   bigint not null,
            bucket       timestamptz not null,
            last_at      timestamptz,
            lowest       double precision,
            highest      double precision,
            last_value   double precision,
            tenant_id    integer not null,
            attribute_id integer not null,
            dataset_id   integer not null,
            numbers      integer not null,
            good         integer not null,
            others       integer not null,
            total        numeric,
            squares      numeric,
            primary key (entity_key, tenant_id, attribute_id, bucket, dataset_id)
        )$table$ || case when name = 'rollup_1d' then '' else ' partition by range (bucket)' end, name);
        execute format('comment on column %I.others is ''Instances that are no number: the bucket does not tell all.''', name);
        execute format('comment on column %I.good is ''Numbers of good quality, or of none that was stated.''', name);
    end loop;
end $$;

-- Where rolling stands. All before rolled_until is rolled, but for what is noted. Whoever writes history before
-- noted_until notes it. noted_until moves first; once all transactions that may not have seen it have ended, those
-- numbered below horizon, rolled_until follows.
create table rollup_state (
    one_row      boolean primary key default true check (one_row),
    noted_until  timestamptz not null default '-infinity',
    rolled_until timestamptz not null default '-infinity',
    horizon      xid8
);
insert into rollup_state default values;

-- Days of attributes that have to be rolled (again). Until then they are read from the instances themselves. Without a
-- key on purpose: who notes waits for nobody, and the same may stand here twice.
create table rollup_note (
    entity_key   bigint not null,
    tenant_id    integer not null,
    attribute_id integer not null,
    day          date not null
);
create index rollup_note_index on rollup_note (entity_key, attribute_id, day, tenant_id);

-- Instances of before have been removed by a retention: rollups are all that is left, and are rolled no more.
alter table entity_identity add column raw_since date;
comment on column entity_identity.raw_since is 'Instances observed before this day (UTC) were removed; null: all are there.';

-- Finding what was observed in an hour, of all entities; costs next to nothing to keep.
create index attribute_instance_observed_index on attribute_instance using brin (observed_at)
    with (pages_per_range = 32, autosummarize = on);

-- Triggers and not the writers: whoever writes history, nothing is forgotten. Readings in time note nothing. The
-- statement within the function sees what was committed up to now, when this transaction has its number already.
create function history_noted() returns trigger language plpgsql as $$
begin
    insert into rollup_note (entity_key, tenant_id, attribute_id, day)
    select distinct entity_key, tenant_id, attribute_id, timezone('UTC', observed_at)::date
      from changed where observed_at < (select noted_until from rollup_state) and has_observed_at;
    return null;
end $$;
create function history_noted_twice() returns trigger language plpgsql as $$
begin
    insert into rollup_note (entity_key, tenant_id, attribute_id, day)
    select distinct entity_key, tenant_id, attribute_id, timezone('UTC', observed_at)::date
      from (select entity_key, tenant_id, attribute_id, observed_at, has_observed_at from changed
            union all select entity_key, tenant_id, attribute_id, observed_at, has_observed_at from before) c
     where observed_at < (select noted_until from rollup_state) and has_observed_at;
    return null;
end $$;
-- A retention takes instances away whose rollups are to stay; it says so.
create trigger history_added after insert on attribute_instance referencing new table as changed
    for each statement execute function history_noted();
create trigger history_removed after delete on attribute_instance referencing old table as changed
    for each statement when (current_setting('minamo.retiring', true) is distinct from 'on')
    execute function history_noted();
create trigger history_changed after update on attribute_instance referencing old table as before new table as changed
    for each statement execute function history_noted_twice();

do $$
declare
    name text;
begin
    foreach name in array array['rollup_10m', 'rollup_1h', 'rollup_1d', 'rollup_note'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy tenant_isolation on %I using ('
            '(select current_setting(''minamo.tenant'')::integer) in (tenant_id, 0))', name);
    end loop;
end $$;
