-- SPDX-License-Identifier: Apache-2.0
-- The device registry: models, profiles, maintenance, service at a station, credentials, and what changed since when.

select set_config('minamo.tenant', '0', true);  -- all tenants

create table device_model (
    tenant_id   integer not null references tenant,
    model_id    text not null,
    name        text not null,
    document    jsonb not null,
    created_at  timestamptz not null,
    modified_at timestamptz not null,
    primary key (tenant_id, model_id)
);
comment on table device_model is 'What devices of one kind have in common; see broker/devices/models.py. Built-in models are not here.';
alter table device_model enable row level security;
alter table device_model force row level security;
create policy tenant_isolation on device_model using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));

alter table device add column profile jsonb not null default '{}';
comment on column device.profile is
    'Sections by subject, see broker/devices/profile.py: {"expectedInterval": {"normal", "active", "startLevel", "field"}, ...}';
update device
   set profile = jsonb_build_object('expectedInterval', jsonb_build_object('normal', extract(epoch from expected_interval)))
 where expected_interval is not null;
comment on column device.expected_interval is 'That of the profile in its normal mode.';

-- The columns of old hold what a device comes to with its model; this is what was said of it alone.
alter table device add column model_id text;
alter table device add column registration jsonb;
comment on column device.registration is 'Own members of the registration, names as IRIs; null: all of it is in the other columns.';
create index device_model_index on device (tenant_id, model_id) where model_id is not null;

alter table device add column maintenance jsonb not null default '[]';
comment on column device.maintenance is '[{"id", "from", "until": time or null, "reason"}, ...]';

alter table device add column service_from timestamptz;
alter table device add column service_until timestamptz;
alter table device add column replaces text;
alter table device add column replaced_by text;

alter table device add column credential_changed_at timestamptz;
alter table device add column credential_revoked boolean not null default false;
update device set credential_changed_at = modified_at where password_hash is not null;

-- The part of an address that names the device in a topic: nobody else may be called so.
create index device_address_name_index on device (regexp_replace(format ->> 'address', '^.*/', ''))
 where format ->> 'address' is not null;

-- So that processes take in what changed, not all devices.
alter table device add column version bigint not null default 0;
comment on column device.version is 'Of cache_version "devices", when this row was last written.';
create index device_version_index on device (version);
create table device_removed (
    key     text primary key,
    version bigint not null
);
comment on table device_removed is 'Keys of devices that were removed, by the version of cache_version "devices" that did it.';
create index device_removed_version_index on device_removed (version);
