# SPDX-License-Identifier: Apache-2.0
"""Settings of every Minamo process; one module a subject, put together in :mod:`api.settings.hub`."""

from __future__ import annotations

from api.settings.hub import Settings, unknown_variables

__all__ = ["Settings", "unknown_variables"]
