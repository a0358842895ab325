# SPDX-License-Identifier: Apache-2.0
"""History files as Parquet, made from and turned into the lines of the same file as CSV, a part at a time.

pyarrow is an extra (``pip install 'minamo[parquet]'``): it is as large as all the rest of the hub together.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from broker.errors import OperationNotSupported
from broker.history.rows import COLUMNS, TIMES

# Lines gathered for one row group: some tens of thousands of rows.
_GROUP_BYTES: Final = 8 * 1024 * 1024
_ROWS_AT_ONCE: Final = 20_000
# Numbers as numbers, for those who read the file with other tools; an import reads "value".
_NUMBER: Final = "numberValue"
_REPEATING: Final = ("entityId", "type", "attribute", "datasetId", "kind", "valueType", "unitCode", "quality", "source")


def _arrow() -> Any:
    """pyarrow with its csv and parquet; raises :class:`OperationNotSupported` where it is not installed."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as exc:
        raise OperationNotSupported(
            "Parquet needs the extra minamo[parquet] (pyarrow) / Parquet には追加パッケージ minamo[parquet] が必要です"
        ) from exc
    return pyarrow


class ParquetWriter:
    """Takes blocks of whole CSV lines (in the order of :data:`COLUMNS`, no header) and gives the bytes of a file.

    Holds one row group at a time. Slow enough to be called in a thread.
    """

    def __init__(self) -> None:
        self._arrow = _arrow()
        arrow = self._arrow
        time, text = arrow.timestamp("us", "UTC"), arrow.string()
        self._types = {name: time if name in TIMES else text for name in COLUMNS}
        self._schema = arrow.schema([*self._types.items(), (_NUMBER, arrow.float64())])
        self._sink = io.BytesIO()
        self._writer = arrow.parquet.ParquetWriter(
            self._sink, self._schema, compression="zstd", use_dictionary=list(_REPEATING)
        )
        self._waiting: list[bytes] = []
        self._size = 0

    def feed(self, lines: bytes) -> bytes:
        """Take ``lines``; returns what of the file is ready, often nothing."""
        self._waiting.append(lines)
        self._size += len(lines)
        if self._size < _GROUP_BYTES:
            return b""
        self._write_group()
        return self._taken()

    def close(self) -> bytes:
        """The rest of the file."""
        if self._size:
            self._write_group()
        self._writer.close()
        return self._taken()

    def _write_group(self) -> None:
        arrow = self._arrow
        lines, self._waiting, self._size = b"".join(self._waiting), [], 0
        table = arrow.csv.read_csv(
            io.BytesIO(lines),
            read_options=arrow.csv.ReadOptions(column_names=list(COLUMNS), use_threads=False),
            parse_options=arrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow.csv.ConvertOptions(
                column_types=self._types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        is_number = arrow.compute.equal(table["valueType"], "number")
        numbers = arrow.compute.if_else(is_number, table["value"], arrow.scalar(None, arrow.string()))
        self._writer.write_table(table.append_column(_NUMBER, numbers.cast(arrow.float64())))

    def _taken(self) -> bytes:
        # Parquet's writer counts by itself where in the file it is.
        ready = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return ready


def parquet_lines(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The rows of a Parquet file as CSV: (lines without a header, rows), in the order of :func:`parquet_columns`."""
    arrow = _arrow()
    source = arrow.parquet.ParquetFile(file)
    for batch in source.iter_batches(_ROWS_AT_ONCE, columns=parquet_columns(file)):
        out = io.BytesIO()
        arrow.csv.write_csv(_as_text(arrow, batch), out, arrow.csv.WriteOptions(include_header=False))
        yield out.getvalue(), batch.num_rows


def parquet_columns(file: BinaryIO) -> list[str]:
    """The columns of a Parquet file that are those of a history file."""
    names = set(_arrow().parquet.ParquetFile(file).schema_arrow.names)
    return [name for name in COLUMNS if name in names]


def _as_text(arrow: Any, batch: Any) -> Any:
    """``batch`` with its times as ISO 8601."""
    columns = []
    for column in batch.columns:
        if arrow.types.is_timestamp(column.type):
            column = arrow.compute.strftime(column.cast(arrow.timestamp("us", "UTC")), "%Y-%m-%dT%H:%M:%SZ")
        columns.append(column)
    return arrow.record_batch(columns, names=batch.schema.names)
