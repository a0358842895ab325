# SPDX-License-Identifier: Apache-2.0
"""Quality of readings: what the hub says of each, automatically, and how it is written into an attribute instance.

One file a test (:mod:`~broker.quality.ranges`, :mod:`~broker.quality.spike`, :mod:`~broker.quality.rate`,
:mod:`~broker.quality.stuck`, :mod:`~broker.quality.clock`, :mod:`~broker.quality.gap`), after QARTOD; values are never
changed. :mod:`~broker.quality.judging` puts them together for a stream of readings.
"""

from broker.quality.flags import (
    CHECKED,
    GOOD,
    LAST_GOOD,
    QUALITY,
    REASONS,
    UNCHANGED_SINCE,
    Flag,
    Judgement,
    Reason,
    is_doubtful,
    judgement_of,
    quality_attributes,
)
from broker.quality.judging import Past, Verdict, is_plain, is_unremarkable, judge, judge_alone, past_of
from broker.quality.kinds import Kind, kind_of
from broker.quality.parameters import Checks, GapRule, QualityParameters, checks_for

__all__ = [
    "CHECKED",
    "GOOD",
    "LAST_GOOD",
    "QUALITY",
    "REASONS",
    "UNCHANGED_SINCE",
    "Checks",
    "Flag",
    "GapRule",
    "Judgement",
    "Kind",
    "Past",
    "QualityParameters",
    "Reason",
    "Verdict",
    "checks_for",
    "is_doubtful",
    "is_plain",
    "is_unremarkable",
    "judge",
    "judge_alone",
    "judgement_of",
    "kind_of",
    "past_of",
    "quality_attributes",
]
