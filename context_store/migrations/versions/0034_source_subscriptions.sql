-- SPDX-License-Identifier: Apache-2.0
-- Subscriptions to registrations of context sources (clause 5.11).

alter table subscription add column about_sources boolean not null default false;
comment on column subscription.about_sources is 'It is about registrations of context sources (clause 5.11), not about entities.';
