-- SPDX-License-Identifier: Apache-2.0
-- Alerts are read as chains of messages: all of one rule about one station, and the newest of one status.

create index alert_station_index on alert (tenant_id, entity_key, rule_id);
create index alert_event_status_index on alert_event (tenant_id, ((document -> 'cap') ->> 'status'), alert_event_id)
 where document ? 'cap';
