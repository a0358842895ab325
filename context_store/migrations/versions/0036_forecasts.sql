-- SPDX-License-Identifier: Apache-2.0
-- Forecasts: every run of every model, so that what was said can be compared with what came.

create table forecast_run (
    tenant_id     integer not null references tenant,
    run_key       bigint generated always as identity unique,
    run_id        text not null,
    model         text not null,
    version       text not null,
    issued_at     timestamptz not null,
    expires_at    timestamptz not null,
    public_until  timestamptz,
    briefed_until timestamptz,
    content_hash  bytea not null,
    received_at   timestamptz not null,
    primary key (tenant_id, run_id)
);
create index forecast_run_issued_index on forecast_run (tenant_id, issued_at desc);
comment on column forecast_run.briefed_until is 'The last time that the briefed may look at; null: nothing.';

-- A line is one value for each of some times: the forecast itself (''), a quantile (q0.9), a member (m3).
create table forecast_line (
    tenant_id     integer not null references tenant,
    run_key       bigint not null references forecast_run (run_key) on delete cascade,
    entity_id     text collate "C" not null,
    attribute_id  integer not null,
    line          text collate "C" not null,
    unit_code     text,
    public_until  timestamptz,
    briefed_until timestamptz,
    valid_at      timestamptz[] not null,
    value         double precision[] not null,
    primary key (run_key, entity_id, attribute_id, line)
);

-- The newest run for each attribute of each entity and each model: one look, whatever is kept.
create table forecast_series (
    tenant_id    integer not null references tenant,
    entity_id    text collate "C" not null,
    attribute_id integer not null,
    model        text not null,
    run_key      bigint not null references forecast_run (run_key) on delete cascade,
    issued_at    timestamptz not null,
    primary key (tenant_id, entity_id, attribute_id, model)
);
create index forecast_series_run_index on forecast_series (run_key);

create table forecast_layer (
    tenant_id     integer not null references tenant,
    run_key       bigint not null references forecast_run (run_key) on delete cascade,
    position      integer not null,
    valid_at      timestamptz not null,
    public_until  timestamptz,
    briefed_until timestamptz,
    depth_from    double precision not null,
    depth_to      double precision,
    geometry      geometry(Geometry, 4326) not null,
    primary key (run_key, position)
);

do $$
declare
    name text;
begin
    foreach name in array array['forecast_run', 'forecast_line', 'forecast_series', 'forecast_layer'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format(
            'create policy tenant_isolation on %I using ('
            '(select current_setting(''minamo.tenant'')::integer) in (tenant_id, 0))', name);
    end loop;
end $$;
