-- SPDX-License-Identifier: Apache-2.0
-- What people decided about the quality of values.

create table quality_decision (
    decision_id bigint generated always as identity primary key,
    tenant_id integer not null references tenant,
    entity_id text not null,
    attribute text not null,
    document jsonb not null,
    decided_by text not null,
    decided_at timestamptz not null,
    changed integer not null
);
comment on table quality_decision is 'Who decided what about values of a series, when, and why; what it changed is in the history.';
comment on column quality_decision.document is '{"from", "to", "quality", "value", "offset", "reason", "datasetId"}';
comment on column quality_decision.decided_by is 'Who: the token that was used (its hash begins so), or "local".';
create index quality_decision_series_index on quality_decision (tenant_id, entity_id, attribute, decision_id);
alter table quality_decision enable row level security;
alter table quality_decision force row level security;
create policy tenant_isolation on quality_decision using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));
