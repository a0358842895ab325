-- SPDX-License-Identifier: Apache-2.0
-- How notifications are sent, where that differs from the default, and what of it is secret.

alter table subscription add column sending jsonb;
comment on column subscription.sending is
    'MQTT: {"password", "qos", "mqtt_version"}; all: {"secret", "timeout_ms", "cooldown_ms"}. No answer holds it: password '
    'and secret are written and never read by clients.';
