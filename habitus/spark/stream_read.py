"""Read events that arrive in Arrow batches as a saved model reads a log: the same readings, the same rejects.

Each batch becomes canonical columns; a row that cannot be read keeps its text and the reason, so that the query can
write it to the rejects. Knows nothing about Spark: Arrow in, Arrow out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from habitus.data.events import known_readings
from habitus.data.rejects import printed
from habitus.data.rows import REASON, judge_rows
from habitus.data.sources import ROW, open_source
from habitus.fields.category import as_category_strings
from habitus.fields.number import Number
from habitus.fields.schema import Schema

ENTITY, TIME_US, VALUES = "_entity", "_time_us", "_values"
FILE, ROW_NUMBER = "_file", "_row_number"  # where an event stood: their order is that of arrival
READ = pa.schema(
    [
        (ENTITY, pa.string()),  # null for a row that cannot be read
        (TIME_US, pa.int64()),
        (FILE, pa.string()),
        (ROW_NUMBER, pa.int64()),
        (VALUES, pa.string()),  # the fields in the order of the schema, as a JSON list; the raw row of a reject
        (REASON, pa.string()),
    ]
)


def read_batches(batches: Iterator[pa.RecordBatch], schema: Schema) -> Iterator[pa.RecordBatch]:
    """Yield each batch with the columns of `READ`.

    Args:
        batches: of one task, in the order of the files: the columns of the log, and `_file` if there is one.
        schema: of the model.
    """
    first_row = 0
    for batch in batches:
        if batch.num_rows:
            yield read_batch(batch, schema, first_row)
            first_row += batch.num_rows


def read_batch(batch: pa.RecordBatch, schema: Schema, first_row: int = 0) -> pa.RecordBatch:
    """Return one batch as `READ` says.

    >>> from habitus.fields.category import Category
    >>> schema = Schema("user_id", "timestamp", {"item_id": Category()})
    >>> rows = {"user_id": [7, None], "timestamp": ["2024-01-31T10:00Z"] * 2, "item_id": ["tea", "oil"]}
    >>> read_batch(pa.RecordBatch.from_pydict(rows), schema).select(["_entity", "_values", "_reason"]).to_pylist()[0]
    {'_entity': '7', '_values': '["tea"]', '_reason': None}
    """
    names = [schema.entity, schema.time, *schema.fields]
    raw = pl.DataFrame(pa.table({name: batch.column(name) for name in batch.schema.names if name in names}))
    source = open_source(raw)
    read = judge_rows(source, known_readings(source, schema))
    good = read[REASON].is_null()
    values = [_json_rows(read, schema), _raw_rows(raw)]
    columns = {
        ENTITY: read[schema.entity].cast(pl.String).set(~good, None),
        TIME_US: read[schema.time].to_physical().fill_null(0),
        VALUES: values[0].zip_with(good, values[1]) if not good.all() else values[0],
        REASON: read[REASON],
    }
    arrays = {name: column.to_arrow().cast(READ.field(name).type) for name, column in columns.items()}
    arrays[FILE] = batch.column(FILE) if FILE in batch.schema.names else pa.array([""] * batch.num_rows)
    arrays[ROW_NUMBER] = pa.array(range(first_row, first_row + batch.num_rows), pa.int64())
    return pa.RecordBatch.from_arrays([arrays[name] for name in READ.names], schema=READ)


def _json_rows(read: pl.DataFrame, schema: Schema) -> pl.Series:
    """Return the fields of each row as a JSON list: text for categories, numbers for numbers."""
    columns = [_plain(read[name], spec) for name, spec in schema.fields.items()]
    rows = zip(*columns, strict=True) if columns else ((),) * read.height
    return pl.Series(VALUES, [json.dumps(row, ensure_ascii=False) for row in rows], pl.String)


def _plain(values: pl.Series, spec: Any) -> list[Any]:
    return values.cast(pl.Float64).to_list() if isinstance(spec, Number) else as_category_strings(values).to_list()


def _raw_rows(raw: pl.DataFrame) -> pl.Series:
    shown = [json.dumps({k: printed(v) for k, v in row.items() if k != ROW}) for row in raw.iter_rows(named=True)]
    return pl.Series(VALUES, shown, pl.String)
