"""Which part each example belongs to, as `habitus.data.split.Split` says, decided without gathering the examples.

"entity" needs each entity's rank among all entities, which Spark numbers; the draw itself is the permutation of one
machine. "time" needs two cutoffs, the first that validate and the first that judge, which counts by day and within one
day give.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from habitus.data.clock import DAY_US
from habitus.data.sequence import EXAMPLE
from habitus.data.split import Split
from habitus.spark.numbering import dense_numbers
from habitus.spark.reading import SparkExamples
from habitus.spark.sources import column

PART = "_part"
_CODE, _KEY = "_code", "_key"


def with_parts(rows: DataFrame, examples: SparkExamples, split: Split) -> DataFrame:
    """Add `_part` to sequence rows.

    Raises:
        DataError: if a part that is needed would be empty.
    """
    who, when = examples.schema.entity, examples.schema.cutoff
    table = examples.frame.select(EXAMPLE, column(who), column(when))
    parted = _by_entity(table, who, split) if split.by == "entity" else _by_time(table, examples.n, when, split)
    if split.by == "new-entities":
        parted = _only_new(parted, who)
    split.refuse_empty(dict(parted.groupBy(PART).count().collect()))
    if split.by == "entity":  # one part an entity: no second look at the examples
        own = parted.select(column(who), PART).distinct()
        return rows.join(own, on=who, how="left").select(*map(column, rows.columns), PART)
    return rows.join(parted.select(EXAMPLE, PART), on=EXAMPLE, how="left").select(*map(column, rows.columns), PART)


def _by_entity(table: DataFrame, who: str, split: Split) -> DataFrame:
    known = table.select(column(who).alias(_KEY)).distinct().persist()
    n = known.count()
    entities = dense_numbers(known, n, _KEY, _CODE)
    schema = StructType([entities.schema[_KEY], StructField(PART, StringType())])
    drawn = entities.mapInArrow(_Draw(split, n), schema).withColumnRenamed(_KEY, who)
    return table.join(drawn, on=who, how="left")


@dataclass(frozen=True)
class _Draw:
    """Gives entities, numbered in sorted order, their parts."""

    split: Split
    n: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts = _parts_of(self.split, self.n)[batch[_CODE].to_numpy()]
            names = pa.DictionaryArray.from_arrays(pa.array(parts), pa.array(_NAMES)).cast(pa.string())
            yield pa.RecordBatch.from_arrays([batch[_KEY], names], names=[_KEY, PART])


_NAMES = ("train", "validation", "test")


@cache
def _parts_of(split: Split, n: int) -> np.ndarray:
    """Return the part of each entity as a number, int8 (n,), once in a worker."""
    names = split.parts_of_entities(n)
    return np.select([names == name for name in _NAMES], range(len(_NAMES))).astype(np.int8)


def _by_time(table: DataFrame, n: int, when: str, split: Split) -> DataFrame:
    moment = F.unix_micros(column(when))
    part = F.lit("train")
    for name in ("validation", "test"):
        start = _first_cutoff(table, when, _first_rank(split, n, name))
        if start is not None:
            part = F.when(moment >= start, name).otherwise(part)
    return table.withColumn(PART, part)


def _first_rank(split: Split, n: int, name: str) -> int:
    """Return the smallest rank whose part is `name` or a later one; `n` if there is none."""
    later = _NAMES[_NAMES.index(name) :]
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if split.parts_of_ranks(np.array([middle], dtype=np.float64), n)[0] in later:
            high = middle
        else:
            low = middle + 1
    return low


def _first_cutoff(table: DataFrame, when: str, rank: int) -> int | None:
    """Return the earliest cutoff before which lie at least `rank` examples, in microseconds; None if there is none."""
    moment = F.unix_micros(column(when))
    day = moment - F.pmod(moment, F.lit(DAY_US))
    days = sorted(table.groupBy(day.alias("day")).count().collect())
    before = np.cumsum([0, *(row[1] for row in days)])
    inside = [number for number in range(len(days)) if before[number] < rank]
    if inside:
        number = inside[-1]
        own = table.filter(day == days[number][0]).groupBy(moment.alias("moment")).count()
        smaller = int(before[number])
        for cutoff, count in sorted(own.collect()):
            if smaller >= rank:
                return int(cutoff)
            smaller += count
        days = days[number + 1 :]
    return int(days[0][0]) if days else None


def _only_new(parted: DataFrame, who: str) -> DataFrame:
    """Leave out validation and test examples of entities that also train."""
    trained = parted.filter(F.col(PART) == "train").select(column(who)).distinct().withColumn("_trained", F.lit(True))
    joined = parted.join(trained, on=who, how="left")
    is_known = F.col("_trained").isNotNull() & (F.col(PART) != "train")
    return joined.withColumn(PART, F.when(is_known, "left-out").otherwise(F.col(PART))).drop("_trained")
