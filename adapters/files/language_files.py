# SPDX-License-Identifier: Apache-2.0
"""Catalogues of languages in a folder of the operator's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson


def catalogue_files(folder: Path) -> list[dict[str, Any]]:
    """The documents of ``*.json`` in ``folder``. Raises ValueError for what cannot be read."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder / フォルダーではありません")
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            found.append(orjson.loads(file.read_bytes()))
        except (OSError, orjson.JSONDecodeError) as exc:
            raise ValueError(f"{file.name}: {exc}") from exc
    return found
