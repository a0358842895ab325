-- SPDX-License-Identifier: Apache-2.0
-- Deliveries by lane and receiver: claiming costs what is taken, whatever waits. Dead letters tell their story and can be
-- sent again. Notifications are kept by their numbers, for those who catch up and those who pull.

alter table delivery_stream
    add column receiver  text collate "C" not null default '',
    add column pending   integer not null default 0,
    add column oldest_at timestamptz,
    add column stalled   boolean not null default false;
comment on column delivery_stream.receiver is 'Scheme, host and port of the destination: what shares and breakers are about.';
comment on column delivery_stream.pending is 'How many deliveries of the stream are pending.';
comment on column delivery_stream.oldest_at is 'Since when the first of them is tried; null when none is pending.';
comment on column delivery_stream.stalled is 'It waits because the receiver did not answer, so it is due when the receiver is back.';

update delivery_stream s
   set receiver = lower(regexp_replace(destination, '^([A-Za-z][A-Za-z0-9+.-]*://)([^/?#@]*@)?([^/?#]*).*$', '\1\3')),
       pending = p.pending, oldest_at = p.oldest_at
  from (select s.stream_key, count(d.delivery_id) as pending, min(d.created_at) as oldest_at
          from delivery_stream s left join delivery d on d.stream_key = s.stream_key and d.state = 'pending'
         group by s.stream_key) as p
 where p.stream_key = s.stream_key;
alter table delivery_stream alter column receiver drop default;

drop index delivery_stream_due_index;
create index delivery_stream_lane_index on delivery_stream (priority, receiver, due_at) where due_at is not null;

alter table delivery drop constraint delivery_state_check;
alter table delivery
    alter column stream_key drop not null,
    add constraint delivery_state_check check (state in ('pending', 'delivered', 'dead', 'dropped', 'kept')),
    add column subscription_key bigint references subscription (subscription_key) on delete cascade,
    add column queued_at timestamptz not null default now(),
    add column failures jsonb not null default '[]';
comment on column delivery.state is
    'pending, delivered, dead (given up, can be replayed), dropped (given up for good), kept (of a subscription that is pulled).';
comment on column delivery.queued_at is 'Since when it is tried: when it was made, or replayed.';
comment on column delivery.failures is 'The last ten: [{"at", "status", "error", "seconds"}, ...].';

update delivery d set subscription_key = s.subscription_key, queued_at = d.created_at
  from delivery_stream s where s.stream_key = d.stream_key;

drop index delivery_finished_index;
create index delivery_finished_index on delivery (finished_at) where state not in ('pending', 'dead');
create index delivery_dead_index on delivery (tenant_id, delivery_id) where state = 'dead';
create index delivery_sequence_index on delivery (subscription_key, sequence) where subscription_key is not null;
