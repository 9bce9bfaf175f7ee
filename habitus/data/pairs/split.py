"""Which pairs train, choose and judge: by source, so that the same source is on one side only; or as files say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from habitus.errors import ConfigError


@dataclass(frozen=True)
class PairSplit:
    """Divide pairs.

    Args:
        validation: share of the sources that choose the best epoch, where no file gives them.
        test: share of the sources that judge, where no file gives them.
        validation_pairs: table of the pairs that choose.
        test_pairs: table of the pairs that judge.
        seed: of the division.

    Pairs of a file stay as they are, so that figures compare with published ones; a training pair whose source stands
    in them is left out of training.

    >>> keys = pl.Series(["a", "b", "a", "c", "d"])
    >>> parts = PairSplit(validation=0.25, test=0.25).assign(keys)
    >>> bool(parts[0] == parts[2]), sorted(set(parts.tolist()))
    (True, ['test', 'train', 'validation'])
    """

    validation: float = 0.05
    test: float = 0.1
    validation_pairs: str | None = None
    test_pairs: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ConfigError(f"validation={self.validation} is a share of the sources: above 0 and below 1.")
        if not 0 <= self.test < 1 or self.validation + self.test >= 1:
            raise ConfigError(f"test={self.test} and validation={self.validation} leave nothing to train on.")

    def assign(self, keys: pl.Series) -> np.ndarray:
        """Return "train", "validation" or "test" of each pair of the training table, (n,)."""
        validation = 0.0 if self.validation_pairs else self.validation
        return drawn_parts(keys, self.seed, validation, 0.0 if self.test_pairs else self.test)

    def sentence(self) -> str:
        """Say the rule in words, for reports.

        >>> PairSplit().sentence()
        'random by source (seed 0): 5 % of sources choose the best epoch, 10 % judge'
        """
        chooses = f"'{self.validation_pairs}'" if self.validation_pairs else f"{100 * self.validation:g} % of sources"
        judges = f"'{self.test_pairs}'" if self.test_pairs else f"{100 * self.test:g} %"
        how = f"random by source (seed {self.seed})" if not self.validation_pairs or not self.test_pairs else "by files"
        return f"{how}: {chooses} choose the best epoch, {judges} judge"


def drawn_parts(keys: pl.Series, seed: int, validation: float, test: float) -> np.ndarray:
    """Return "train", "validation" or "test" of each unit, (n,): equal keys are on one side.

    Args:
        keys: what may not stand on two sides.
        seed: of the draw, which depends on a key's rank and not on the order of rows.
        validation, test: shares of the different keys.
    """
    codes = keys.rank("dense").to_numpy().astype(np.int64) - 1
    draw = np.random.default_rng(seed).permutation(codes.max() + 1 if len(codes) else 0)
    position = (draw[codes] + 0.5) / max(len(draw), 1)
    return np.where(position < test, "test", np.where(position < test + validation, "validation", "train"))


def kept_apart(keys: pl.Series, part: np.ndarray) -> tuple[np.ndarray, int]:
    """Leave out units of training whose key validates or judges, and of validation whose key judges.

    Args:
        keys: what may not stand on two sides.
        part: of each unit, (n,).

    Returns:
        The parts with "left-out" among them, and how many these are.

    >>> kept_apart(pl.Series(["a", "b", "a"]), np.array(["train", "train", "test"]))[0].tolist()
    ['left-out', 'train', 'test']
    """
    left_out = 0
    for these, those in ((("train", "validation"), ("test",)), (("train",), ("validation",))):
        judged = keys.filter(pl.Series(np.isin(part, those))).unique()
        shared = np.isin(part, these) & keys.is_in(judged.implode()).to_numpy()
        part, left_out = np.where(shared, "left-out", part), left_out + int(shared.sum())
    return part, left_out
