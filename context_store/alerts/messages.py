# SPDX-License-Identifier: Apache-2.0
"""Alert events as messages to others: pages of the newest, and everything that belongs to one flood at one station."""

from __future__ import annotations

from typing import Final, LiteralString

from psycopg import AsyncConnection

from context_store.alerts.standing import AlertEvent
from context_store.rows import rows_of

# Events of a status that stand for a message (the last one of those that a reading decided at once), newest first.
_PAGE: Final[LiteralString] = """
    select alert_event_id, tenant_id, alert_id, kind, document, recorded_at from alert_event
     where tenant_id = %(tenant_id)s and document ? 'cap' and (document -> 'cap') ->> 'status' = %(status)s
       and (%(before)s::bigint is null or alert_event_id < %(before)s::bigint)
       and document ->> 'stage'
           = (document -> 'stagesCrossed') ->> (case kind when 'raised' then -1 else 0 end)
     order by alert_event_id desc limit %(limit)s
"""

# What happened by the rule of an alert at its station between two moments at which nothing was raised: around the event
# that is asked for, or the alert's last one.
_EPISODE: Final[LiteralString] = """
    with asked as (
        select alert_event_id from alert_event
         where tenant_id = %(tenant_id)s and alert_id = %(alert_id)s
           and (%(sequence)s::bigint is null or alert_event_id = %(sequence)s::bigint)
         order by alert_event_id desc limit 1
    ), station as materialized (
        select e.alert_event_id,
               sum(case e.kind when 'raised' then 1 when 'cleared' then -1 else 0 end)
                   over (order by e.alert_event_id) as raised
          from alert a
          join alert s on s.tenant_id = a.tenant_id and s.entity_key = a.entity_key and s.rule_id = a.rule_id
          join alert_event e on e.tenant_id = s.tenant_id and e.alert_id = s.alert_id
         where a.tenant_id = %(tenant_id)s and a.alert_id = %(alert_id)s
    ), episode as (
        select (select max(s.alert_event_id) from station s
                 where s.raised = 0 and s.alert_event_id < asked.alert_event_id) as after,
               (select min(s.alert_event_id) from station s
                 where s.raised = 0 and s.alert_event_id >= asked.alert_event_id) as until
          from asked
    )
    select e.alert_event_id, e.tenant_id, e.alert_id, e.kind, e.document, e.recorded_at
      from episode p
      join station s on (p.after is null or s.alert_event_id > p.after)
                    and (p.until is null or s.alert_event_id <= p.until)
      join alert_event e on e.alert_event_id = s.alert_event_id
     order by e.alert_event_id
"""


async def read_messages(
    connection: AsyncConnection, tenant_id: int, status: str, *, before: int | None = None, limit: int
) -> list[AlertEvent]:
    """The newest events of ``status`` that are messages, numbered below ``before``."""
    parameters = {"tenant_id": tenant_id, "status": status, "before": before, "limit": limit}
    return await rows_of(connection, AlertEvent, _PAGE, parameters)


async def read_episode(
    connection: AsyncConnection, tenant_id: int, alert_id: str, sequence: int | None = None
) -> list[AlertEvent]:
    """All events of the rule and station of ``alert_id``, from calm to calm, around event ``sequence`` of that alert.

    Without ``sequence``, around its last event. Nothing when there is no such alert or event.
    """
    parameters = {"tenant_id": tenant_id, "alert_id": alert_id, "sequence": sequence}
    return await rows_of(connection, AlertEvent, _EPISODE, parameters)
