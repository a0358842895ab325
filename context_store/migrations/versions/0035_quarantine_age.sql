-- SPDX-License-Identifier: Apache-2.0
-- Quarantined messages end after a time.

create index quarantine_age_index on quarantine (received_at);
