-- SPDX-License-Identifier: Apache-2.0
-- Subscriptions are told of alerts by a consumer of their own, which begins where the one of all changes stands.

insert into change_consumer (name, done_snapshot, window_snapshot, window_after, last_event_id, system_identifier, late_events)
select 'subscriptions of alerts', done_snapshot, window_snapshot, window_after, last_event_id, system_identifier, late_events
  from change_consumer where name = 'subscriptions';
