# SPDX-License-Identifier: Apache-2.0
"""The command line ``minamo``: one module a group of commands."""

from __future__ import annotations

from api.cli.commands import main

__all__ = ["main"]
