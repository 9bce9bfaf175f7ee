"""`SequenceModelEstimator`: learn a model of labelled examples in Spark, as a stage of a `pyspark.ml` Pipeline.

    estimator = SequenceModelEstimator(labelCol="risk", folder="/shared/risk", processes=4).setExamples(labels)
    model = estimator.fit(events)        # a SequenceModelTransformer over /shared/risk/model

See `fit.py` for what happens where. The bundle is the same kind as everywhere. The options of the parts (backbone,
data, split, training, options) are plain data with the names of Python, the command line and the config file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark import keyword_only
from pyspark.ml import Estimator
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.param.shared import HasLabelCol, HasSeed
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable
from pyspark.sql import DataFrame

from habitus.config import build
from habitus.errors import ConfigError, did_you_mean
from habitus.spark.transformer import SequenceModelTransformer

if TYPE_CHECKING:  # what brings torch is imported where it is used: every Python worker imports this package
    from habitus.model import LabelledModel
    from habitus.training import Callback

SAMPLE_ROWS = 200_000
_TASKS = ("classify", "regress")
_PARTS = ("backbone", "data", "split", "training", "options")


def _to_json(value: Any) -> str:
    """Take options as a mapping or as JSON text, which can be saved."""
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, Mapping):
        raise TypeError(f"config takes a mapping of the parts {', '.join(_PARTS)}, not {value!r}")
    return json.dumps(value)


class SequenceModelEstimator(
    Estimator[SequenceModelTransformer], HasLabelCol, HasSeed, DefaultParamsReadable, DefaultParamsWritable
):
    """Fit a classifier or a regression on events in Spark.

    Args:
        task: "classify" or "regress".
        labelCol: column of the examples to predict.
        backbone: "transformer", "gru", "lstm" or "rnn".
        config: options by part, e.g. `{"backbone": {"hidden_size": 32}, "training": {"epochs": 3}}`.
        folder: where the model, and while it is trained the job, are written; every machine must see it.
        processes: how many train together, at most the slots of the cluster.
        sampleRows: most rows that the driver reads for what it fits and judges itself.
        resume: go on from the checkpoint that a failed fit left in the folder.
        seed: of initial weights, shuffling, dropout and split.

    Raises:
        ConfigError: for options that do not fit together, or fewer slots than processes.
        TrainingError: if a process of the training fails or dies.
    """

    task: Param[str] = Param(Params._dummy(), "task", "classify or regress", TypeConverters.toString)
    backbone: Param[str] = Param(Params._dummy(), "backbone", "body of the network", TypeConverters.toString)
    config: Param[str] = Param(Params._dummy(), "config", "options by part", _to_json)
    folder: Param[str] = Param(Params._dummy(), "folder", "folder that every machine sees", TypeConverters.toString)
    processes: Param[int] = Param(Params._dummy(), "processes", "how many train together", TypeConverters.toInt)
    sampleRows: Param[int] = Param(Params._dummy(), "sampleRows", "most rows read by the driver", TypeConverters.toInt)
    resume: Param[bool] = Param(Params._dummy(), "resume", "go on from the checkpoint", TypeConverters.toBoolean)

    _input_kwargs: dict[str, Any]  # what `keyword_only` was called with

    @keyword_only
    def __init__(
        self,
        *,
        task: str = "classify",
        labelCol: str | None = None,
        backbone: str = "transformer",
        config: Mapping[str, Any] | str | None = None,
        folder: str | None = None,
        processes: int = 2,
        sampleRows: int = SAMPLE_ROWS,
        resume: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._setDefault(
            task="classify",
            backbone="transformer",
            config="{}",
            processes=2,
            sampleRows=SAMPLE_ROWS,
            resume=False,
            seed=0,
        )
        self._examples: DataFrame | str | None = None
        self._callbacks: Sequence[Callback] = ()
        self._set(**self._input_kwargs)

    @keyword_only
    def setParams(
        self,
        *,
        task: str = "classify",
        labelCol: str | None = None,
        backbone: str = "transformer",
        config: Mapping[str, Any] | str | None = None,
        folder: str | None = None,
        processes: int = 2,
        sampleRows: int = SAMPLE_ROWS,
        resume: bool = False,
        seed: int = 0,
    ) -> SequenceModelEstimator:
        """Set several parameters; returns self."""
        self._set(**self._input_kwargs)
        return self

    def setExamples(self, value: DataFrame | str) -> SequenceModelEstimator:
        """Give the examples: entity, cutoff, label, profile; they belong to the data, so they are not saved."""
        self._examples = value
        return self

    def setCallbacks(self, value: Sequence[Callback]) -> SequenceModelEstimator:
        """Give what watches the training at the driver, such as `[ProgressBar()]`; not saved."""
        self._callbacks = value
        return self

    def setTask(self, value: str) -> SequenceModelEstimator:
        """Set the task: "classify" or "regress"."""
        return self._set(task=value)

    def getTask(self) -> str:
        """Return the task."""
        return str(self.getOrDefault(self.task))

    def setLabelCol(self, value: str) -> SequenceModelEstimator:
        """Set the column of the examples to predict."""
        return self._set(labelCol=value)

    def setBackbone(self, value: str) -> SequenceModelEstimator:
        """Set the body of the network by its name."""
        return self._set(backbone=value)

    def getBackbone(self) -> str:
        """Return the name of the body of the network."""
        return str(self.getOrDefault(self.backbone))

    def setConfig(self, value: Mapping[str, Any] | str) -> SequenceModelEstimator:
        """Set the options by part."""
        return self._set(config=value)

    def getConfig(self) -> dict[str, Any]:
        """Return the options by part."""
        found: dict[str, Any] = json.loads(self.getOrDefault(self.config))
        return found

    def setFolder(self, value: str) -> SequenceModelEstimator:
        """Set the folder of model and job."""
        return self._set(folder=value)

    def getFolder(self) -> str:
        """Return the folder of model and job.

        Raises:
            ConfigError: if none was given.
        """
        if not self.isDefined(self.folder):
            raise ConfigError("No folder is given; give one that every machine sees: folder='/shared/runs/risk'.")
        return str(self.getOrDefault(self.folder))

    def setProcesses(self, value: int) -> SequenceModelEstimator:
        """Set how many processes train together."""
        return self._set(processes=value)

    def getProcesses(self) -> int:
        """Return how many processes train together."""
        return int(self.getOrDefault(self.processes))

    def setSampleRows(self, value: int) -> SequenceModelEstimator:
        """Set how many rows the driver reads at most."""
        return self._set(sampleRows=value)

    def getSampleRows(self) -> int:
        """Return how many rows the driver reads at most."""
        return int(self.getOrDefault(self.sampleRows))

    def setResume(self, value: bool) -> SequenceModelEstimator:
        """Set whether to go on from a checkpoint."""
        return self._set(resume=value)

    def getResume(self) -> bool:
        """Return whether to go on from a checkpoint."""
        return bool(self.getOrDefault(self.resume))

    def setSeed(self, value: int) -> SequenceModelEstimator:
        """Set the seed."""
        return self._set(seed=value)

    def copy(self, extra: Any = None) -> SequenceModelEstimator:
        """Return a copy with other values of parameters, the same examples and callbacks."""
        copied = super().copy(extra)
        copied._examples, copied._callbacks = self._examples, self._callbacks
        return copied

    def build(self) -> LabelledModel:
        """Return the model that `fit` trains, not fitted yet.

        Raises:
            ConfigError: for options that do not exist or do not fit together.
        """
        from habitus.model import LabelledModel, SequenceModel
        from habitus.training import Training

        if self.getTask() not in _TASKS:
            raise ConfigError(f"task='{self.getTask()}'; {did_you_mean(self.getTask(), _TASKS)}")
        if not self.isSet(self.labelCol):
            raise ConfigError("No target is given; name the column of the examples to predict: labelCol='risk'.")
        config, kind = self.getConfig(), SequenceModel.kinds[self.getTask()]
        for part in config:
            if part not in _PARTS:
                raise ConfigError(f"There is no part '{part}' of the config; {did_you_mean(part, _PARTS)}")
        options = {part: dict(config.get(part, {})) for part in _PARTS}
        seed = int(self.getSeed())
        model = kind(
            SequenceModel.task_kinds[self.getTask()](self.getLabelCol()),
            kind.backbone_from({"name": self.getBackbone(), **options["backbone"]}),
            data=build(kind.data_kind, options["data"], "[data]"),
            split=build(kind.split_kind, {"seed": seed, **options["split"]}, "[split]"),
            training=build(Training, options["training"], "[training]"),
            options=build(kind.options_kind, options["options"], "[options]"),
            seed=seed,
        )
        assert isinstance(model, LabelledModel)
        return model

    # -- inside

    def _fit(self, dataset: DataFrame) -> SequenceModelTransformer:
        from habitus.spark.fit import fit_on_spark

        if self._examples is None:
            raise ConfigError("No examples are given; give a DataFrame with entity, cutoff and label: setExamples(df).")
        model, folder = self.build(), Path(self.getFolder())
        fit_on_spark(
            dataset.sparkSession,
            model,
            dataset,
            self._examples,
            folder / "job",
            processes=self.getProcesses(),
            resume=self.getResume(),
            callbacks=self._callbacks,
            sample_rows=self.getSampleRows(),
        )
        model.save(folder / "model")
        shutil.rmtree(folder / "job", ignore_errors=True)  # the model stands; rows and checkpoint have served
        self.fitted_ = model
        return SequenceModelTransformer(bundle=str(folder / "model"))
