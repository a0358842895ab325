-- SPDX-License-Identifier: Apache-2.0
-- Audiences: 0 public, 1 briefed, 2 staff. What others than staff may read is in the views of context_store/sql/seen.sql.

-- Which audience an attribute (or, without one, a whole entity) has. Entities are chosen by type or by id; neither: all.
-- Of several rules that apply the strictest holds; what no rule is about is public.
create table audience_rule (
    tenant_id   integer not null references tenant,
    entity_type text not null default '',
    entity_id   text not null default '',
    attribute   text not null default '',
    audience    smallint not null check (audience in (1, 2)),
    modified_at timestamptz not null default now(),
    primary key (tenant_id, entity_type, entity_id, attribute),
    check (entity_type = '' or entity_id = ''),
    check (entity_type <> '' or entity_id <> '' or attribute <> '')
);
alter table audience_rule enable row level security;
alter table audience_rule force row level security;
create policy tenant_isolation on audience_rule using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));

-- What callers leave behind is theirs: their transactions say who they are, those of staff and the hub say nothing.
alter table subscription
    add column audience smallint not null default coalesce(nullif(current_setting('minamo.audience', true), ''), '2')::smallint,
    add column owner    text not null default coalesce(current_setting('minamo.caller', true), '');
comment on column subscription.audience is 'Of whoever made it: its notifications have what this audience may see.';
alter table entity_map
    add column audience smallint not null default coalesce(nullif(current_setting('minamo.audience', true), ''), '2')::smallint,
    add column owner    text not null default coalesce(current_setting('minamo.caller', true), '');

-- Who may see the alerts of a rule; those of rules that say nothing are for staff.
alter table alert_rule
    add column audience smallint generated always as (
        case document ->> 'audience' when 'public' then 0 when 'briefed' then 1 else 2 end) stored;
