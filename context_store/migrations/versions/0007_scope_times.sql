-- SPDX-License-Identifier: Apache-2.0
-- Scopes may be observed at another time than the hub learned of them.

alter table scope_instance add column observed_at timestamptz;
comment on column scope_instance.observed_at is 'Since when the scopes hold, as the temporal API said; null: since recorded_at.';
