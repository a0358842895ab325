-- SPDX-License-Identifier: Apache-2.0
-- Which subscriptions have changed since a worker looked last.

alter table subscription add column version bigint not null default 0;
comment on column subscription.version is 'Of cache_version "subscriptions", when this row was last written by the API.';
create index subscription_version_index on subscription (version);
