-- SPDX-License-Identifier: Apache-2.0
-- Messages of alerts that go on for long are sent again before they expire.

alter table alert_event drop constraint alert_event_kind_check;
alter table alert_event add constraint alert_event_kind_check check (kind in ('raised', 'cleared', 'reissued'));
