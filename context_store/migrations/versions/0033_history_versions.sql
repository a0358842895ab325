-- SPDX-License-Identifier: Apache-2.0
-- Whether the history of an entity has changed is told by the transaction numbers of its rows in entity and
-- entity_identity. Whoever writes history without writing the entity leaves its mark in entity_identity.
-- See docs/decisions (answers about history, again).

alter table entity_identity set (fillfactor = 85);

create function history_marked() returns trigger language plpgsql as $$
begin
    update entity_identity i set modified_at = i.modified_at
      from (select distinct entity_key from changed) c where i.entity_key = c.entity_key;
    return null;
end $$;
-- Compressed tables know no transition tables for what is deleted.
create function history_row_marked() returns trigger language plpgsql as $$
begin
    update entity_identity set modified_at = modified_at
     where entity_key = old.entity_key and xmin <> pg_current_xact_id()::xid;
    return null;
end $$;

-- Writers that change the rows of all entities whose new instances they insert say so, and spare this.
create function mark_history(history regclass) returns void language plpgsql as $$
begin
    execute format($trigger$create trigger history_marked_added after insert on %s referencing new table as changed
        for each statement when (current_setting('minamo.marks_itself', true) is distinct from 'on')
        execute function history_marked()$trigger$, history);
    execute format($trigger$create trigger history_marked_changed after update on %s
        referencing new table as changed for each statement execute function history_marked()$trigger$, history);
    if history = to_regclass('attribute_instance_rows') then
        execute format($trigger$create trigger history_marked_removed after delete on %s for each row
            when (current_setting('minamo.retiring', true) is distinct from 'on')
            execute function history_row_marked()$trigger$, history);
    else
        execute format($trigger$create trigger history_marked_removed after delete on %s
            referencing old table as changed for each statement
            when (current_setting('minamo.retiring', true) is distinct from 'on')
            execute function history_marked()$trigger$, history);
    end if;
end $$;

select mark_history(coalesce(to_regclass('attribute_instance_rows'), to_regclass('attribute_instance')));
