-- SPDX-License-Identifier: Apache-2.0
-- Subscriptions: periods survive restarts; a restored change log loses and repeats nothing; the last
-- state of a deleted entity can be told to subscribers.

alter table subscription add column next_due timestamptz;
comment on column subscription.next_due is 'When the next notification of a timeInterval is due.';
comment on column subscription.last_notification is 'When a notification was last made: what throttling counts.';
create index subscription_due_index on subscription (next_due) where next_due is not null;

alter table change_consumer add column late_events bigint[] not null default '{}';
comment on column change_consumer.late_events is
    'After a restore into another cluster: events numbered below window_after that were not read before.';

alter table change_event add column entity jsonb;
comment on column change_event.entity is
    'Of a deletion: {"scopes", "createdAt", "modifiedAt"} of the entity, which is in no table any more.';
create index change_event_deleted_index on change_event (entity_key) where operation = 'deleted';
