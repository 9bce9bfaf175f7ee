"""Which origins of series train, choose and judge: always by time, at the same moments for every series.

    ---- train ----|-- validation --|---- test ----|
    an origin belongs to a part if all steps that it predicts do; what it reads may lie in the part before

Origins whose steps cross a border belong to no part, so that no target is learned and judged at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from habitus.data.series.table import SeriesTable
from habitus.errors import ConfigError


@dataclass(frozen=True)
class SeriesSplit:
    """Say where training ends, and where judging begins.

    Args:
        validation: share of the time span that chooses the best epoch.
        test: share at the end that judges; 0 judges nothing.
        train_steps, validation_steps, test_steps: lengths of the parts from the first time on, in place of the shares;
            what comes after them belongs to none. Usual for ETTh1: 8640, 2880 and 2880 hours.
        validation_from, test_from: times (ISO 8601, UTC where no zone is written) in place of the shares.
        stride: steps between two origins that judge; None: as few as keep them at 5,000 in all, usually 1.
        seed: not read; there because every split has one.

    >>> SeriesSplit(train_steps=8640, validation_steps=2880, test_steps=2880).steps
    (8640, 2880, 2880)
    """

    validation: float = 0.1
    test: float = 0.2
    train_steps: int | None = None
    validation_steps: int | None = None
    test_steps: int | None = None
    validation_from: str | None = None
    test_from: str | None = None
    stride: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1):
            raise ConfigError(
                f"validation={self.validation}, test={self.test}: shares of time, above 0 (test may be 0) and below 1 "
                "together, such as 0.1 and 0.2."
            )
        given = [one for one in (self.train_steps, self.validation_steps, self.test_steps) if one is not None]
        if given and (len(given) != 3 or min(given) < 1):
            raise ConfigError(
                "train_steps, validation_steps and test_steps go together, each 1 or more, such as 8640, 2880 and 2880."
            )
        if (self.validation_from is None) != (self.test_from is None):
            raise ConfigError("validation_from and test_from go together; give both, or neither.")
        if self.steps is not None and self.test_from is not None:
            raise ConfigError("train_steps and test_from both say where the parts begin; give one of them.")
        if self.stride is not None and self.stride < 1:
            raise ConfigError(f"stride={self.stride} is no number of steps; use 1 or more.")

    @property
    def steps(self) -> tuple[int, int, int] | None:
        """Lengths of the three parts, where they are given."""
        if self.train_steps is None or self.validation_steps is None or self.test_steps is None:
            return None
        return self.train_steps, self.validation_steps, self.test_steps

    def borders(self, table: SeriesTable) -> tuple[int, int, int]:
        """Return when validation begins, when test begins, and the first time after it, in microseconds.

        Raises:
            ConfigError: if a part would lie outside the series.
        """
        first, last = int(table.time_us.min()), int(table.time_us.max())
        end = int(table.step.after(last, np.array([1]))[0])
        if self.steps is not None:
            found = table.step.after(first, np.cumsum(self.steps))
            validation, test, end_of_test = (int(one) for one in found)
            if end_of_test > end:
                raise ConfigError(
                    f"The parts of {', '.join(str(one) for one in self.steps)} steps end at {_printed(end_of_test)}, "
                    f"and the series at {_printed(last)}; give fewer."
                )
            return validation, test, end_of_test
        if self.test_from is not None and self.validation_from is not None:
            validation, test = _moment(self.validation_from), _moment(self.test_from)
            if not first < validation < test <= end:
                raise ConfigError(
                    f"validation_from={self.validation_from}, test_from={self.test_from} must follow one another "
                    f"within the series, which go from {_printed(first)} to {_printed(last)}."
                )
            return validation, test, end
        span = end - first
        return first + round((1 - self.validation - self.test) * span), first + round((1 - self.test) * span), end


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no time; write it as 2024-01-31 or 2024-01-31T10:00Z.") from error
    plain = moment.replace(tzinfo=None) - (
        moment.utcoffset() or moment.replace(tzinfo=None) - moment.replace(tzinfo=None)
    )
    return int(np.datetime64(plain, "us").astype(np.int64))


def _printed(time_us: int) -> str:
    return str(np.array(time_us, "M8[us]").astype("M8[m]")) + "Z"
