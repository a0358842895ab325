-- SPDX-License-Identifier: Apache-2.0
-- In which format a device sends, and by which name its network knows it.

alter table device add column format jsonb not null default '{}';
comment on column device.format is
    'How its messages are to be read: {"name", "codec", "fields", "timeField", "timeZone", "records", "select", "columns", '
    '"separator", "encoding", "zeros", "sentinels", "address"}; {} is the format of the hub itself.';
create unique index device_address_index on device ((format ->> 'address')) where format ->> 'address' is not null;
