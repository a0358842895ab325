# SPDX-License-Identifier: Apache-2.0
"""Plain numbers of many entities in one statement."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from api.hub import Hub
from context_store.history.writing import NumberRows

START = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def test_rows_are_written_entity_by_entity_each_in_the_order_of_its_readings(hub: Hub) -> None:
    await hub.history.ensure([START])
    rows = NumberRows()
    for place, key in enumerate((2, 1, 2, 1, 2)):
        rows.add((key, 1, 7, START - timedelta(minutes=place), 0, 0), float(place), "MTR")
    async with hub.database.transaction(1) as connection:
        assert await rows.insert(connection, START) == 5
        asked = "select entity_key, number_value from attribute_instance where attribute_id = 7 order by instance_key"
        found = await (await connection.execute(asked)).fetchall()
    assert found == [(1, 1.0), (1, 3.0), (2, 0.0), (2, 2.0), (2, 4.0)]
