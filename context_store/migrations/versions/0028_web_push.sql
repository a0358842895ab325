-- SPDX-License-Identifier: Apache-2.0
-- Browsers that contacts have enrolled for push messages.

create table web_push_browser (
    tenant_id  integer not null references tenant,
    browser_id text not null,
    contact_id text not null,
    endpoint   text not null,
    p256dh     text not null,
    auth       text not null,
    label      text not null,
    created_at timestamptz not null,
    ended_at   timestamptz,
    end_reason text,
    primary key (tenant_id, browser_id)
);
create unique index web_push_browser_endpoint_index on web_push_browser (tenant_id, md5(endpoint)) where ended_at is null;
create index web_push_browser_contact_index on web_push_browser (tenant_id, contact_id) where ended_at is null;
comment on table web_push_browser is 'The address and keys are secrets: whoever has them and the key of the hub can write to the browser.';

alter table web_push_browser enable row level security;
alter table web_push_browser force row level security;
create policy tenant_isolation on web_push_browser using (
    (select current_setting('minamo.tenant')::integer) in (tenant_id, 0));

-- What push services said of browsers that are gone.
create index contact_notice_push_failed_index on contact_notice (finished_at) where channel = 'webpush' and state = 'failed';
