-- SPDX-License-Identifier: Apache-2.0
-- People who were chosen to be told in a drill.

alter table drill add column contacts text[] not null default '{}';
