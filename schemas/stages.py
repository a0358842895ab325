# SPDX-License-Identifier: Apache-2.0
"""The named stages of Japanese river levels.

Telemetered gauges have five named thresholds (水防法 and the practice of 川の防災情報), 危機管理型水位計 three of
their own. A sensor informs, it never orders: the words of evacuation orders (避難指示 and the like) do not belong here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Stage:
    """One named stage.

    ``code`` is the name used in the API, ``order`` its severity (1 lowest, 0: none), ``colour`` the customary screen
    colour, ``shape`` the symbol shown with it (state is never told by colour alone), ``severity`` the Smart Data Models
    ``Alert`` severity.
    """

    code: str
    order: int
    name_ja: str
    name_en: str
    colour: str
    shape: str
    severity: str


STAGES: Final[tuple[Stage, ...]] = (
    Stage("standby", 1, "水防団待機水位", "flood brigade stand-by level", "#008000", "circle", "low"),
    Stage("caution", 2, "氾濫注意水位", "flood caution level", "#F2E700", "diamond", "medium"),
    Stage("evacuation_decision", 3, "避難判断水位", "evacuation decision level", "#FF2800", "triangle", "high"),
    Stage("danger", 4, "氾濫危険水位", "flood danger level", "#AD02AD", "square", "critical"),
    Stage("overflow", 5, "氾濫発生", "overflow", "#000000", "cross", "critical"),
)
"""Of telemetered gauges."""

CRISIS_STAGES: Final[tuple[Stage, ...]] = (
    Stage("observation_start", 1, "観測開始水位", "observation start level", "#22B022", "circle", "informational"),
    Stage("critical", 4, "危険水位", "critical level", "#AD02AD", "square", "critical"),
    Stage("overflow_start", 5, "氾濫開始水位", "overflow start level", "#000000", "cross", "critical"),
)
"""Of 危機管理型水位計."""

NO_DATA: Final = "no_data"
"""Silence of a station, which is no level: nobody knows where the water is."""

_NO_DATA_STAGE: Final = Stage(NO_DATA, 0, "欠測", "no data", "#AAAAAA", "circle", "low")

ALL_STAGES: Final = tuple(sorted((_NO_DATA_STAGE, *CRISIS_STAGES, *STAGES), key=lambda stage: stage.order))
"""Lowest first; of one order those of 危機管理型水位計 come first."""

STAGE_BY_CODE: Final[dict[str, Stage]] = {stage.code: stage for stage in ALL_STAGES}

RANK: Final[dict[str, int]] = {stage.code: rank for rank, stage in enumerate(ALL_STAGES)}
"""Which stage is above which, also among those of one order."""
