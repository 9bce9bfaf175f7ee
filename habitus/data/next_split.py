"""Which events of a history train, choose and judge, when the next event is predicted.

    leave-one-out   last event of each entity judges, the one before it chooses, the rest trains
    temporal        events from a moment on judge; of those before it, the latest choose; the rest trains
    entities        entities that begin last judge, with all their events; those that begin before them choose
    none            nothing judges; the last event of some entities chooses

Leave-one-out is kept for comparison with published tables. It lets a model train on events that are later than
another user's test event; the temporal split does not, and is the headline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from habitus.config import check_choice
from habitus.data.histories import Histories
from habitus.data.slices import positions, row_numbers
from habitus.errors import ConfigError, DataError

_SHARE_CHOOSING = 0.1  # of entities, when nothing judges
_MOST_CHOOSING = 5_000


@dataclass(frozen=True)
class Positions:
    """Events to predict: entity `row`, event at position `stop` of the flat arrays; int64 (q,) each."""

    row: np.ndarray
    stop: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class NextParts:
    """A division of histories.

    Args:
        train_stop: int64 (n,), where the training part of each history ends (a position of the flat arrays).
        validation: positions that choose the best epoch.
        test: positions that judge, by the name of the target ("last", and with a temporal split "successive").
        cut_us: moment from which events judge, or None.
    """

    train_stop: np.ndarray
    validation: Positions
    test: dict[str, Positions]
    cut_us: int | None = None


@dataclass(frozen=True)
class NextSplit:
    """Divide histories for next-event prediction.

    Args:
        by: "temporal", "leave-one-out", "entities" (for cases and for new users) or "none".
        quantile: of the event times, where the temporal test begins, or of the entities' first times; the validation
            part begins at the same quantile of what is left.
        seed: draws the entities that choose when nothing judges.

    >>> histories = Histories(np.array([0, 4]), {"item_id": np.array([3, 4, 5, 6], np.int32)}, {}, np.arange(4))
    >>> parts = NextSplit("leave-one-out").divide(histories)
    >>> parts.train_stop.tolist(), parts.validation.stop.tolist(), parts.test["last"].stop.tolist()
    ([2], [2], [3])
    """

    by: Literal["temporal", "leave-one-out", "entities", "none"] = "temporal"
    quantile: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("by", self.by, ("temporal", "leave-one-out", "entities", "none"))
        if not 0 < self.quantile < 1:
            raise ConfigError(f"quantile={self.quantile} leaves nothing to train on or to judge; use 0.9 or so.")

    def divide(self, histories: Histories) -> NextParts:
        """Return the parts.

        Raises:
            DataError: if no event is left to train on, to choose by or to judge.
        """
        kinds = {"temporal": self._temporal, "entities": self._entities, "none": self._none}
        parts = _leave_one_out(histories) if self.by == "leave-one-out" else kinds[self.by](histories)
        self._refuse_empty(parts, histories)
        return parts

    def sentence(self) -> str:
        """Say the rule in words, for reports.

        >>> NextSplit("leave-one-out").sentence()
        'leave-one-out: the last event of each entity judges, the one before it chooses the best epoch'
        """
        if self.by == "leave-one-out":
            return "leave-one-out: the last event of each entity judges, the one before it chooses the best epoch"
        if self.by == "temporal":
            share = f"{100 * self.quantile:g} %"
            return (
                f"temporal: events from the {share} quantile of time on judge, "
                f"those from the {share} quantile of the rest on choose the best epoch"
            )
        if self.by == "entities":
            return (
                f"entities: those that begin after the {self.quantile:.0%} quantile judge with all their events, those "
                f"after the {self.quantile:.0%} quantile of the rest choose the best epoch"
            ).replace("%", " %")
        return "no test part: the last event of some entities chooses the best epoch"

    def _temporal(self, histories: Histories) -> NextParts:
        times = histories.time_us
        cut_us = _moment(times, self.quantile)
        choose_us = _moment(times[times < cut_us], self.quantile)
        ends = histories.offsets[1:]
        test_begin, validation_begin = _first_from(histories, cut_us), _first_from(histories, choose_us)
        successive = _all_between(test_begin, ends, histories.offsets[:-1])
        return NextParts(
            train_stop=validation_begin,
            validation=_last_between(validation_begin, test_begin, histories.offsets[:-1]),
            test={"last": _last_between(test_begin, ends, histories.offsets[:-1]), "successive": successive},
            cut_us=cut_us,
        )

    def _entities(self, histories: Histories) -> NextParts:
        has_event = histories.lengths > 0
        first_us = np.full(len(histories), np.iinfo(np.int64).max)
        first_us[has_event] = histories.time_us[histories.offsets[:-1][has_event]]
        cut_us = _moment(first_us[has_event], self.quantile)
        choose_us = _moment(first_us[has_event & (first_us < cut_us)], self.quantile)
        begin, end = histories.offsets[:-1], histories.offsets[1:]
        test_begin = np.where(first_us >= cut_us, begin, end)
        validation_begin = np.where((first_us >= choose_us) & (first_us < cut_us), begin, end)
        train_stop = np.where(first_us >= choose_us, begin, end)
        return NextParts(
            train_stop=train_stop,
            validation=_all_between(validation_begin, end, begin),
            test={
                "successive": _all_between(test_begin, end, begin),
                "last": _last_between(test_begin, end, begin),
            },
            cut_us=cut_us,
        )

    def _none(self, histories: Histories) -> NextParts:
        rows = np.flatnonzero(histories.lengths >= 3)
        n = min(_MOST_CHOOSING, max(1, int(_SHARE_CHOOSING * len(rows))))
        chosen = np.sort(np.random.default_rng(self.seed).permutation(rows)[:n])
        stop = histories.offsets[1:].copy()
        stop[chosen] -= 1
        return NextParts(stop, Positions(chosen, stop[chosen]), {})

    def _refuse_empty(self, parts: NextParts, histories: Histories) -> None:
        n_targets = int(np.maximum(parts.train_stop - histories.offsets[:-1] - 1, 0).sum())
        sizes = {"training": n_targets, "validation": len(parts.validation)}
        sizes |= {f"test ({name})": len(positions) for name, positions in parts.test.items()}
        for part, size in sizes.items():
            if not size:
                raise DataError(
                    f"The split '{self.by}' leaves no event to predict for {part}, of {len(histories.time_us):,} "
                    f"events of {len(histories):,} entities; give longer histories, or another split."
                )


def _leave_one_out(histories: Histories) -> NextParts:
    begin, end, n = histories.offsets[:-1], histories.offsets[1:], histories.lengths
    rows = np.flatnonzero(n >= 3)  # shorter ones have no history before a validation event, and only train
    train_stop = np.where(n >= 3, end - 2, end)
    assert (train_stop >= begin).all(), "a history ends before it begins"
    return NextParts(train_stop, Positions(rows, end[rows] - 2), {"last": Positions(rows, end[rows] - 1)})


def _moment(times: np.ndarray, quantile: float) -> int:
    return int(np.quantile(times, quantile, method="lower")) if len(times) else 0


def _first_from(histories: Histories, moment_us: int) -> np.ndarray:
    """Return the position of each entity's first event at or after a moment."""
    before = np.concatenate([[0], np.cumsum(histories.time_us < moment_us)])
    return histories.offsets[:-1] + before[histories.offsets[1:]] - before[histories.offsets[:-1]]


def _last_between(first: np.ndarray, end: np.ndarray, begin: np.ndarray) -> Positions:
    """Return the last event of first:end of each entity, where there is one with a history before it."""
    rows = np.flatnonzero((end > first) & (end - 1 > begin))
    return Positions(rows, end[rows] - 1)


def _all_between(first: np.ndarray, end: np.ndarray, begin: np.ndarray) -> Positions:
    """Return every event of first:end that has a history before it."""
    first = np.maximum(first, begin + 1)
    end = np.maximum(end, first)
    return Positions(row_numbers(first, end), positions(first, end))
