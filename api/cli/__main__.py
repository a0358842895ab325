# SPDX-License-Identifier: Apache-2.0
"""``python -m api.cli``."""

from __future__ import annotations

from api.cli.commands import main

main()
