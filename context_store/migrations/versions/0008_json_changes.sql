-- SPDX-License-Identifier: Apache-2.0
-- Changes are read as a whole and never looked into: as json they are stored as they come, without being parsed.

alter table change_event alter column changes type json using changes::text::json;
