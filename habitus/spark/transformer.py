"""`SequenceModelTransformer`: a saved model as a stage of a `pyspark.ml` Pipeline.

    sequence rows  -> the same rows, with the answers' columns behind
    raw events     -> one row for each example (each entity at the end of its history, without examples), with answers

A row that cannot be scored keeps null answers and says why in `rejected`; `split_rejected` takes the two apart. With
`strict` such a row fails the job. Saving writes the parameters and the bundle through Spark, so that every filesystem
that Spark writes to does; loading needs no file of the machine that saved.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pyspark import keyword_only
from pyspark.ml import Transformer
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, StructType

from habitus.bundle import resolve_bundle
from habitus.errors import ConfigError
from habitus.spark.bundles import open_bundle, pack_bundle, unpack_bundle
from habitus.spark.score import BATCH_ROWS, check_batch_rows
from habitus.spark.scoring import score_rows

_CHUNK = 32 << 20  # bytes of a bundle in one row of a saved stage
_unpacked: list[tempfile.TemporaryDirectory[str]] = []  # bundles of loaded stages, kept while the driver lives


class SequenceModelTransformer(Transformer, MLReadable, MLWritable):
    """Score with a saved model of classes or numbers.

    Args:
        bundle: a saved model or a run folder, on the driver.
        outputPrefix: put before `prediction`, `probability` and `rejected`.
        batchRows: rows that a worker scores together, at least; more sort better by length and take more memory.
        threads: of torch in each Python worker; 1 suits one task a core.
        strict: fail at a row that cannot be scored.
        entityCol, timeCol: the event columns, where a raw log calls them otherwise than the model.
        orderCol: column that says in which order a raw log was written, which decides ties of time.
        timeZone: of times in a raw log that are written without one.

    Raises:
        ConfigError: for a model of a task that does not answer rows, or names that the input has already.
    """

    bundle: Param[str] = Param(Params._dummy(), "bundle", "saved model or run folder", TypeConverters.toString)
    outputPrefix: Param[str] = Param(
        Params._dummy(), "outputPrefix", "put before the answers' names", TypeConverters.toString
    )
    batchRows: Param[int] = Param(Params._dummy(), "batchRows", "rows scored together", TypeConverters.toInt)
    threads: Param[int] = Param(Params._dummy(), "threads", "of torch in a Python worker", TypeConverters.toInt)
    strict: Param[bool] = Param(
        Params._dummy(), "strict", "fail at a row that cannot be scored", TypeConverters.toBoolean
    )
    entityCol: Param[str] = Param(Params._dummy(), "entityCol", "entity of raw events", TypeConverters.toString)
    timeCol: Param[str] = Param(Params._dummy(), "timeCol", "time of raw events", TypeConverters.toString)
    orderCol: Param[str] = Param(Params._dummy(), "orderCol", "order of raw events", TypeConverters.toString)
    _input_kwargs: dict[str, Any]
    timeZone: Param[str] = Param(Params._dummy(), "timeZone", "zone of naive times", TypeConverters.toString)

    @keyword_only
    def __init__(
        self,
        *,
        bundle: str | None = None,
        outputPrefix: str = "",
        batchRows: int = BATCH_ROWS,
        threads: int = 1,
        strict: bool = False,
        entityCol: str | None = None,
        timeCol: str | None = None,
        orderCol: str | None = None,
        timeZone: str | None = None,
    ) -> None:
        super().__init__()
        self._setDefault(outputPrefix="", batchRows=BATCH_ROWS, threads=1, strict=False)
        self._examples: DataFrame | None = None
        self._set(**self._input_kwargs)  # written by keyword_only

    @keyword_only
    def setParams(
        self,
        *,
        bundle: str | None = None,
        outputPrefix: str = "",
        batchRows: int = BATCH_ROWS,
        threads: int = 1,
        strict: bool = False,
        entityCol: str | None = None,
        timeCol: str | None = None,
        orderCol: str | None = None,
        timeZone: str | None = None,
    ) -> SequenceModelTransformer:
        """Set several parameters; returns self."""
        self._set(**self._input_kwargs)
        return self

    def setExamples(self, value: DataFrame | None) -> SequenceModelTransformer:
        """Say who is judged, and when, in raw events; belongs to the data, so it is not saved."""
        self._examples = value
        return self

    def getExamples(self) -> DataFrame | None:
        """Return the examples that raw events are judged on, if any were given."""
        return self._examples

    def setBundle(self, value: str) -> SequenceModelTransformer:
        """Set the model: a bundle or a run folder on the driver."""
        return self._set(bundle=value)

    def getBundle(self) -> str:
        """Return where the model is.

        Raises:
            ConfigError: if none was given.
        """
        if not self.isDefined(self.bundle):
            raise ConfigError('No model is given; say which: SequenceModelTransformer(bundle="runs/risk").')
        return str(self.getOrDefault(self.bundle))

    def setOutputPrefix(self, value: str) -> SequenceModelTransformer:
        """Set what stands before the names of the answers' columns."""
        return self._set(outputPrefix=value)

    def getOutputPrefix(self) -> str:
        """Return what stands before the names of the answers' columns."""
        return str(self.getOrDefault(self.outputPrefix))

    def setBatchRows(self, value: int) -> SequenceModelTransformer:
        """Set how many rows are scored together, at least."""
        return self._set(batchRows=value)

    def getBatchRows(self) -> int:
        """Return how many rows are scored together, at least."""
        return int(self.getOrDefault(self.batchRows))

    def setThreads(self, value: int) -> SequenceModelTransformer:
        """Set the threads of torch in each Python worker."""
        return self._set(threads=value)

    def getThreads(self) -> int:
        """Return the threads of torch in each Python worker."""
        return int(self.getOrDefault(self.threads))

    def setStrict(self, value: bool) -> SequenceModelTransformer:
        """Set whether a row that cannot be scored fails the job."""
        return self._set(strict=value)

    def getStrict(self) -> bool:
        """Return whether a row that cannot be scored fails the job."""
        return bool(self.getOrDefault(self.strict))

    def setEntityCol(self, value: str) -> SequenceModelTransformer:
        """Set the entity's column in raw events."""
        return self._set(entityCol=value)

    def getEntityCol(self) -> str | None:
        """Return the entity's column in raw events; None: the model's name for it."""
        return self._optional(self.entityCol)

    def setTimeCol(self, value: str) -> SequenceModelTransformer:
        """Set the time's column in raw events."""
        return self._set(timeCol=value)

    def getTimeCol(self) -> str | None:
        """Return the time's column in raw events; None: the model's name for it."""
        return self._optional(self.timeCol)

    def setOrderCol(self, value: str) -> SequenceModelTransformer:
        """Set the column that orders events with equal times."""
        return self._set(orderCol=value)

    def getOrderCol(self) -> str | None:
        """Return the column that orders events with equal times."""
        return self._optional(self.orderCol)

    def setTimeZone(self, value: str) -> SequenceModelTransformer:
        """Set the zone of times that are written without one."""
        return self._set(timeZone=value)

    def getTimeZone(self) -> str | None:
        """Return the zone of times that are written without one."""
        return self._optional(self.timeZone)

    def write(self) -> MLWriter:
        """Return the writer of `save`."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader[SequenceModelTransformer]:
        """Return the reader of `load`."""
        return _Reader()

    def copy(self, extra: Any = None) -> SequenceModelTransformer:
        """Return a copy with other values of parameters, the same examples."""
        copied = super().copy(extra)
        copied._examples = self._examples
        return copied

    # -- inside

    def _optional(self, param: Param[str]) -> str | None:
        return str(self.getOrDefault(param)) if self.isDefined(param) else None

    def _transform(self, dataset: DataFrame) -> DataFrame:
        check_batch_rows(self.getBatchRows())
        model = open_bundle(self.getBundle())
        rows = dataset if _holds_rows(dataset.schema, model) else self._rows_of_events(dataset, model)
        return score_rows(
            rows,
            self.getBundle(),
            prefix=self.getOutputPrefix(),
            batch_rows=self.getBatchRows(),
            threads=self.getThreads(),
            strict=self.getStrict(),
            keep=None if rows is dataset else _who(model),
        )

    def _rows_of_events(self, events: DataFrame, model: Any) -> DataFrame:
        from habitus.spark.prepare import rows_to_score

        return rows_to_score(
            events,
            self._examples,
            model,
            entity=self.getEntityCol(),
            time=self.getTimeCol(),
            order=self.getOrderCol(),
            time_zone=self.getTimeZone(),
        )


def _holds_rows(schema: StructType, model: Any) -> bool:
    """Say whether a DataFrame holds sequence rows: its time is a list."""
    time = model.encoder_.schema.time
    return time in schema.names and isinstance(schema[time].dataType, ArrayType)


def _who(model: Any) -> list[str]:
    return [model.encoder_.schema.entity, model.encoder_.schema.cutoff]


class _Writer(MLWriter):
    """Writes parameters as pyspark does, and the bundle as rows of bytes."""

    def __init__(self, instance: SequenceModelTransformer) -> None:
        super().__init__()
        self.instance = instance

    def saveImpl(self, path: str) -> None:
        content = pack_bundle(resolve_bundle(self.instance.getBundle()))
        spark = self.sparkSession
        params = DefaultParamsWriter.extractJsonParams(self.instance, [])
        own = {name: value for name, value in params.items() if name != "bundle"}
        DefaultParamsWriter.saveMetadata(self.instance, path, spark, paramMap=own)
        starts = range(0, len(content), _CHUNK)
        rows = [(number, bytearray(content[start : start + _CHUNK])) for number, start in enumerate(starts)]
        spark.createDataFrame(rows, "number int, content binary").coalesce(1).write.parquet(f"{path}/bundle")


class _Reader(MLReader[SequenceModelTransformer]):
    """Reads what `_Writer` wrote."""

    def load(self, path: str) -> SequenceModelTransformer:
        spark = self.sparkSession
        metadata = DefaultParamsReader.loadMetadata(path, spark)
        found = SequenceModelTransformer()
        found._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(found, metadata)
        rows = spark.read.parquet(f"{path}/bundle").orderBy("number").collect()
        folder = tempfile.TemporaryDirectory(prefix="habitus-stage-")
        _unpacked.append(folder)
        unpack_bundle(b"".join(bytes(row.content) for row in rows), Path(folder.name))
        return found.setBundle(folder.name)
