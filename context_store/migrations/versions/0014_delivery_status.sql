-- SPDX-License-Identifier: Apache-2.0
-- How it goes with a subscription is asked often, and must not cost what its history is.

create index delivery_stream_waiting_index on delivery_stream (subscription_key) where due_at is not null;
create index delivery_dead_subscription_index on delivery (subscription_key) where state = 'dead';

-- Secrets that the hub makes for itself and its processes share: what signs the tickets of streams.
create table hub_secret (
    name       text primary key,
    value      bytea not null,
    created_at timestamptz not null default now()
);
