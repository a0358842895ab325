# SPDX-License-Identifier: Apache-2.0
"""Alerts that go on for longer than their messages are valid: told again, once for a rule at a station.

The caller owns the transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import orjson
from psycopg import AsyncConnection

from context_store.alerts.standing import LOCK_EVENTS, NOTIFY
from context_store.rows import rows_of

# The last raised of the alerts that are open by one rule at one station, when nothing was said for nine tenths of the
# time for which its message is valid.
_DUE: Final[LiteralString] = """
    with standing as (
        select distinct on (a.tenant_id, a.rule_id, a.entity_key)
               a.tenant_id, a.alert_id, a.rule_id, a.entity_key, a.peak_value, e.document
          from alert a
          join alert_event e on e.tenant_id = a.tenant_id and e.alert_id = a.alert_id and e.kind = 'raised'
         where a.cleared_at is null and e.document ? 'cap'
         order by a.tenant_id, a.rule_id, a.entity_key, e.alert_event_id desc
    )
    select o.tenant_id, o.alert_id, o.peak_value, o.document
      from standing o
     cross join lateral (
           select max(e.recorded_at) as at
             from alert s join alert_event e on e.tenant_id = s.tenant_id and e.alert_id = s.alert_id
            where s.tenant_id = o.tenant_id and s.entity_key = o.entity_key and s.rule_id = o.rule_id) as last
     where last.at <= %(now)s::timestamptz
                      - make_interval(secs => 0.9 * ((o.document -> 'cap') ->> 'validForSeconds')::float8)
     order by o.tenant_id, o.alert_id limit %(limit)s
"""
_ADD: Final[LiteralString] = """
    insert into alert_event (tenant_id, alert_id, kind, document, recorded_at)
    values (%s, %s, 'reissued', %s::jsonb, %s)
"""
_AT_ONCE: Final = 200


class Standing(NamedTuple):
    """An alert that goes on, with the document of its raise."""

    tenant_id: int
    alert_id: str
    peak_value: float
    document: dict[str, Any]


async def reissue(connection: AsyncConnection, now: datetime) -> int:
    """Write events for what is due; returns how many."""
    if not await _due(connection, now):
        return 0
    await connection.execute(LOCK_EVENTS)
    due = await _due(connection, now)  # another process may have done it meanwhile
    for alert in due:
        text = orjson.dumps(_repeated(alert)).decode()
        await connection.execute(_ADD, (alert.tenant_id, alert.alert_id, text, now))
    await connection.execute(NOTIFY)
    return len(due)


def _repeated(alert: Standing) -> dict[str, Any]:
    """The document of the raise, as one that says that it goes on."""
    document = alert.document
    return {
        **document,
        "kind": "reissued",
        "peakValue": alert.peak_value,
        "stagesCrossed": [document["stage"]],
        "descriptionJa": f"アラートが続いているため、あらためてお知らせします。{document['descriptionJa']}",
        "descriptionEn": f"The alert goes on, so this is told again. {document['descriptionEn']}",
    }


async def _due(connection: AsyncConnection, now: datetime) -> list[Standing]:
    return await rows_of(connection, Standing, _DUE, {"now": now, "limit": _AT_ONCE})
