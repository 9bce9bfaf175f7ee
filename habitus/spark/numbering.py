"""Dense numbers from 0 in the order of a key, without sorting everything in one task.

Keys are divided into ranges at values of a sample of them, each range is numbered by itself, and what lies before it is
added. The ranges depend on the keys alone, so a task that runs again gives the same numbers.
"""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

PER_RANGE = 1_000_000
_RANGE = "_range"


def dense_numbers(frame: DataFrame, n: int, key: str, name: str, *, per_range: int = PER_RANGE) -> DataFrame:
    """Add the position of each row in the order of a key that no two rows share.

    Args:
        frame: is read several times; persist it where reading is dear.
        n: how many rows it has.
        key: whole numbers or text; text is ordered by its UTF-8 bytes, as everywhere.
        name: of the new column, int64.
        per_range: rows that one task numbers, about.
    """
    bounds = _bounds(frame, n, key, per_range)
    ranged = frame.withColumn(_RANGE, _range_of(F.col(key), bounds))
    if not bounds:
        starts = [0]
    else:
        sizes = {row[0]: row[1] for row in ranged.groupBy(_RANGE).count().collect()}
        starts = [sum(sizes.get(one, 0) for one in range(number)) for number in range(len(bounds) + 1)]
    within = F.row_number().over(Window.partitionBy(_RANGE).orderBy(key)) - 1
    before = F.element_at(F.lit(starts).cast("array<bigint>"), F.col(_RANGE) + 1)
    return ranged.withColumn(name, within.cast("bigint") + before).drop(_RANGE)


def _bounds(frame: DataFrame, n: int, key: str, per_range: int) -> list[Any]:
    """Return keys between which there are about `per_range` rows each, from a sample that depends on the keys alone."""
    n_ranges = -(-n // per_range)
    if n_ranges < 2:
        return []
    every = max(1, n // (100 * n_ranges))
    sample = frame.select(key).filter(F.pmod(F.xxhash64(key), F.lit(every)) == 0)
    keys = [row[0] for row in sample.orderBy(key).collect()]
    return sorted({keys[len(keys) * number // n_ranges] for number in range(1, n_ranges)}) if keys else []


def _range_of(key: Column, bounds: list[Any]) -> Column:
    """Return how many bounds are at or below a key."""
    if not bounds:
        return F.lit(0)
    return F.size(F.filter(F.lit(bounds), lambda bound: bound <= key))
