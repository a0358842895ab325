-- SPDX-License-Identifier: Apache-2.0
-- Rollups are written hour by hour for all attributes, and read for one: in the table, each bucket is on a page of its
-- own. In the index they lie together; with what questions need, the table is not read at all.

alter table rollup_1h drop constraint rollup_1h_pkey;
alter table rollup_1h add primary key (entity_key, tenant_id, attribute_id, bucket, dataset_id)
    include (numbers, others, lowest, highest, total, squares);
alter table rollup_1d drop constraint rollup_1d_pkey;
alter table rollup_1d add primary key (entity_key, tenant_id, attribute_id, bucket, dataset_id)
    include (numbers, others, lowest, highest, total, squares);
-- What is new is seen by the index alone once it was vacuumed.
alter table rollup_1d set (autovacuum_vacuum_insert_scale_factor = 0.02);
