# SPDX-License-Identifier: Apache-2.0
"""``/api/v1/alarms/records``: neutral records of alarms, for whoever carries them over to L-Alert."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response

from adapters.files.alarm_records import RECORDED, RecordSender, alarm_record, alarm_record_schema
from api.http.requests import RowNumber, TenantId, parse_moment
from api.http.responses import Json
from api.hub import Hub
from api.openapi.plain import answers
from context_store.alerts.alarm_records import read_versions

_LINES: Final = "application/x-ndjson"
_ANSWERS: Final = answers("AlarmRecords")
_ANSWERS[200]["content"][_LINES] = {"schema": {"type": "string"}}


def add_record_routes(router: APIRouter, hub: Hub) -> None:
    """The routes on ``hub``, under the prefix of ``router``; before those with the id of an alarm."""

    @router.get(
        "/alarms/records",
        summary="Neutral records, ready for L-Alert but not its interface / L アラート入力用の中立記録",
        responses=_ANSWERS,
    )
    async def records(
        tenant_id: TenantId,
        status: Annotated[
            Literal["actual", "exercise", "test"], Query(description="Exercises and tests are never among the actual")
        ] = "actual",
        after: Annotated[RowNumber, Query(description="recordId of the last one seen")] = 0,
        start: Annotated[str | None, Query(alias="from", description="ISO 8601 with offset")] = None,
        end: Annotated[str | None, Query(alias="to", description="ISO 8601 with offset")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 500,
        form: Annotated[Literal["json", "ndjson"], Query(alias="format")] = "json",
    ) -> Response:
        async with hub.database.transaction(tenant_id) as connection:
            found = await read_versions(
                connection,
                tenant_id,
                RECORDED,
                status.capitalize(),
                after=after,
                since=parse_moment(start, "from") if start else None,
                until=parse_moment(end, "to") if end else None,
                limit=limit,
            )
        settings = hub.settings
        sender = RecordSender(settings.cap_sender, settings.cap_sender_name, settings.cap_geocode)
        shown = [alarm_record(one.document, one.alarm_step_id, one.version, one.recorded_at, sender) for one in found]
        if form == "json":
            return Json({"records": shown})
        headers = {"Content-Disposition": f'attachment; filename="alarm-records-{status}.ndjson"'}
        lines = b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in shown)
        return Response(lines, media_type=_LINES, headers=headers)

    @router.get(
        "/alarms/records/schema", summary="The JSON Schema of records / 記録のスキーマ", responses=answers("JsonSchema")
    )
    async def schema() -> Json:
        return Json(alarm_record_schema())
