"""`ForecastModel`: the next values of many series, with quantiles.

    table (id, time, values) -> regular series -> parts by time -> scales -> windows -> train -> rivals -> judge

A unit is an origin: a series and the first step that is predicted. Rolling origins judge: every step of the test part
whose horizon lies in it, or every `stride`-th. Its context may reach into validation and training, which an honest
forecaster would know by then; its targets were never learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from habitus.backbones import Transformer
from habitus.baselines.forecast import FORECAST_RIVALS, has_statsforecast, ridge
from habitus.baselines.rival import Rival
from habitus.bundle import Bundle
from habitus.data.clock import DAY_US
from habitus.data.rejects import Rejects
from habitus.data.series.encoder import MOST_JUDGED, MOST_TRAINING, SeriesEncoder
from habitus.data.series.forecasts import Answer, Truth
from habitus.data.series.read import read_series
from habitus.data.series.rows import Origins
from habitus.data.series.split import SeriesSplit
from habitus.data.series.table import SeriesData, SeriesTable
from habitus.errors import ConfigError, did_you_mean
from habitus.evaluation import Evaluation
from habitus.model.forecast_frame import forecast_facts, forecast_frame, forecast_said
from habitus.model.forecast_panels import forecast_panels
from habitus.model.task_model import TaskModel
from habitus.prepared_task import PreparedTask
from habitus.tasks import Backbone
from habitus.tasks.forecast import Forecast
from habitus.tasks.forecast_network import ForecastNetwork, Shape
from habitus.training import Study
from habitus.training.forecast import ForecastStudy, forecasts

_BEFORE, _AFTER = -(2**62), 2**62  # microseconds: all times
_ETS = "ets"


@dataclass(frozen=True)
class ForecastOptions:
    """How much is read in an epoch, and which rivals stand beside the model.

    Args:
        windows_per_epoch: most windows of an epoch; where training has more, each epoch draws others.
        baselines: rivals fitted beside the model; "ets" needs the extra `forecast` and is left out without it.

    >>> ForecastOptions(baselines=("seasonal naive",)).windows_per_epoch
    20000
    """

    windows_per_epoch: int = 20_000
    baselines: tuple[str, ...] = tuple(FORECAST_RIVALS)

    def __post_init__(self) -> None:
        if self.windows_per_epoch < 1:
            raise ConfigError(f"windows_per_epoch={self.windows_per_epoch} must be 1 or more.")
        for name in self.baselines:
            if name not in FORECAST_RIVALS:
                raise ConfigError(f"There is no rival '{name}' here; {did_you_mean(name, FORECAST_RIVALS)}")


class ForecastModel(TaskModel, tasks=(Forecast,)):
    """A `SequenceModel` that forecasts series; see there for the arguments."""

    sources = ("events",)
    split_kind = SeriesSplit
    options_kind = ForecastOptions
    data_kind = SeriesData
    encoder_kind = SeriesEncoder
    rival_kinds = FORECAST_RIVALS

    task: Forecast
    data: SeriesData
    split: SeriesSplit
    options: ForecastOptions
    encoder_: SeriesEncoder
    network_: ForecastNetwork
    rejects_: Rejects
    notes_: Sequence[str]

    @classmethod
    def default_backbone(cls) -> Backbone:
        """Return a Transformer that sees the whole context."""
        return Transformer(**cls.backbone_defaults(None, "transformer"))

    @classmethod
    def backbone_defaults(cls, task: Any, name: str, data: Any = None) -> dict[str, Any]:
        """Return that all patches of a context see each other, and that the clock is in their order."""
        return {"causal": False, "time_aware": False} if name == "transformer" else {}

    # -- reading

    def prepare(self, events: Any) -> PreparedTask:
        """Read series, divide their time, and measure scales on the training part.

        Args:
            events: a table in long form: one row a series and step.
        """
        task, split = self.task, self.split
        table = read_series(events, task.value, self.data)
        borders = split.borders(table)
        encoder = SeriesEncoder.fit(table, self.data, borders, task.horizon, task.context)
        until, test, end = borders
        parts = {
            "train": encoder.between(table, _BEFORE, until, most=MOST_TRAINING),
            "validation": encoder.between(table, until, test, most=MOST_TRAINING),
            "test": encoder.between(table, test, end, most=MOST_JUDGED, stride=split.stride),
        }
        found = {name: (series, at) for name, (series, at, _, _) in parts.items()}
        rows = encoder.origins(table, *np.concatenate(list(found.values()), axis=1), calendar=task.calendar)
        strides = {name: stride for name, (_, _, stride, _) in parts.items()}
        n_gaps = sum(n for _, _, _, n in parts.values())
        return PreparedTask(
            source=table.source,
            encoder=encoder,
            rows=rows,
            part=np.repeat(list(found), [len(at) for _, at in found.values()]),
            keys=_keys(encoder, rows),
            facts=forecast_facts(table, encoder, borders, strides),
            notes=(*table.notes, *forecast_said(encoder, strides, n_gaps), *self._missing_rivals()),
            rejects=table.rejects,
        )

    def read(self, events: Any) -> PreparedTask:
        """Read series as the fitted model does; every origin that has a whole horizon after it."""
        encoder = self.encoder_
        table = self._table(events)
        later = encoder.between(table, encoder.learned_until_us, _AFTER, most=MOST_JUDGED, stride=self.split.stride)
        stride = later[2]
        learned = encoder.between(table, _BEFORE, encoder.learned_until_us, most=MOST_TRAINING, stride=stride)
        unknown = [name for name in table.names if name not in set(encoder.names)]
        both = np.concatenate([learned[:2], later[:2]], axis=1)
        order = np.lexsort((both[1], both[0]))
        rows = encoder.origins(table, *both[:, order], calendar=self.task.calendar)
        notes = [
            *table.notes,
            *forecast_said(encoder, {"test": stride}, learned[3] + later[3]),
            *self._missing_rivals(),
        ]
        if unknown:
            notes.append(f"{len(unknown):,} of {len(table):,} series are new; they are scaled by their first steps.")
        part = np.full(len(rows), "given")
        return PreparedTask(
            table.source, encoder, rows, part, _keys(encoder, rows), notes=tuple(notes), rejects=table.rejects
        )

    # -- answering

    def predict(self, events: Any) -> pl.DataFrame:
        """Forecast the horizon after the last step of each series.

        Returns:
            A frame of the series, the time of each future step, `variable` where there are several, `prediction` (the
            median; the mean with the loss "mse") and a column for each quantile, such as `quantile_0.9`. Values are
            missing where a series has no value of a variable at all.
        """
        self._require_fitted()
        encoder = self.encoder_
        table = self._table(events)
        longer = table.continued(encoder.horizon)
        at = longer.offsets[1:] - encoder.horizon
        rows = encoder.origins(longer, np.arange(len(longer)), at, calendar=self.task.calendar)
        answer = self.answer(rows)
        empty = ~np.logical_or.reduceat(table.seen, table.offsets[:-1], axis=0)
        answer.point[np.broadcast_to(empty[:, None], answer.point.shape)] = np.nan
        notes = list(table.notes)
        if empty.any():
            notes.append(f"{empty.sum():,} variables of a series have no value at all; their predictions are missing.")
        self.rejects_, self.notes_ = table.rejects, notes
        return forecast_frame(rows, answer, encoder)

    def truth(self, rows: Origins) -> Truth:
        """Return what came true."""
        apart = np.diff(rows.at)[np.diff(rows.series) == 0]
        stride = int(np.median(apart)) if len(apart) else 1
        naive = rows.scales.naive[rows.series]
        block = max(1, -(-2 * rows.horizon // max(stride, 1)))
        return Truth(rows.targets(), rows.center, rows.scale, naive, rows.series, block)

    def answer(self, rows: Origins) -> Answer:
        """Return the model's forecasts, in the own unit."""
        outputs = forecasts(self.network_, rows)
        scale, center = (one[:, None, :, None].astype(np.float32) for one in (rows.scale, rows.center))
        outputs *= scale
        outputs += center
        levels = self.task.levels
        if not levels:
            return Answer(outputs[..., 0].copy())
        return Answer(outputs[..., levels.index(0.5)].copy(), outputs, levels)

    def panels(self, rows: Origins, truth: Truth, answers: Mapping[str, Answer]) -> list[dict[str, Any]]:
        """Return one forecast with its band, errors by step, and errors by variable."""
        return forecast_panels(rows, truth, answers)

    # -- inside

    def _judge(self, rows: Any, split: str, notes: Sequence[str]) -> Evaluation:
        found = super()._judge(rows, split, notes)
        encoder = self.encoder_
        more = {"step": str(encoder.step), "context": encoder.context, "mase_season": encoder.season}
        return replace(found, protocol={**found.protocol, **more})

    def _table(self, events: Any) -> SeriesTable:
        encoder = self.encoder_
        return read_series(events, encoder.variables, encoder.read_as(self.data), encoder.step)

    def _build_network(self) -> ForecastNetwork:
        encoder = self.encoder_
        step = encoder.step
        days = step.count * 30.4 if step.is_months else step.count / DAY_US
        shape = Shape(encoder.context, encoder.horizon, len(encoder.variables), encoder.calendar, days)
        return ForecastNetwork(shape, self.backbone, self.task)

    def _study(self, train_rows: Origins, validation_rows: Origins) -> Study:
        if self.task.linear and self.task.normalise == "window":
            self.network_.start_from(ridge(train_rows, validation_rows))
        return ForecastStudy(self.task, train_rows, validation_rows, self.options.windows_per_epoch)

    def _fit_rivals(self, train_rows: Any, validation_rows: Any) -> list[Rival]:
        asked = self.options
        self.options = replace(asked, baselines=tuple(name for name in asked.baselines if self._can_run(name)))
        try:
            return super()._fit_rivals(train_rows, validation_rows)
        finally:
            self.options = asked

    def _restore(self, bundle: Bundle) -> None:
        super()._restore(bundle)
        self.baselines_ = [rival for rival in self.baselines_ if self._can_run(rival.name)]

    def _missing_rivals(self) -> list[str]:
        left_out = [name for name in self.options.baselines if not self._can_run(name)]
        return [f"The rival {name} is left out: pip install 'habitus[forecast]' brings it." for name in left_out]

    @staticmethod
    def _can_run(name: str) -> bool:
        return name != _ETS or has_statsforecast()

    def _check(self) -> None:
        if getattr(self.backbone, "pooling", "") == "cls":
            raise ConfigError("pooling='cls' adds a step that has no patch; a forecaster pools nothing: leave it out.")


def _keys(encoder: SeriesEncoder, rows: Origins) -> pl.Series:
    """Return which unit each origin is; all that touch what a series was learned from share one key."""
    time_us = rows.table.time_us[rows.at]
    learned = time_us < encoder.learned_until_us
    names = rows.names
    return pl.Series(
        [f"{name}\0{'learned' if old else moment}" for name, old, moment in zip(names, learned, time_us, strict=True)],
        dtype=pl.String,
    )
