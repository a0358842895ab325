-- SPDX-License-Identifier: Apache-2.0
-- Alert rules keep their states in memory and write what changes with every reading now and then
-- (docs/decisions/0038-states-in-memory.md). Until now everything that was counted was written.

alter table change_consumer
    add column written_until bigint not null default 0,
    add column counted_in xid8,
    add column holder text;
update change_consumer set written_until = last_event_id;
comment on column change_consumer.written_until is
    'Alert rules: what was read of events above this number need not be in the states of the table yet.';
comment on column change_consumer.counted_in is
    'Alert rules: the last transaction that counted readings; whoever has another in mind reads the states anew.';
comment on column change_consumer.holder is
    'The process that read last. Others leave the consumer to it while it goes on, because it has the states in memory.';
