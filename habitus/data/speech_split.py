"""Which utterances train, choose and judge: files at random, whole speakers, or parts that the table names.

A model that has heard a voice knows it again. Whoever wants to know how it does on new voices holds whole speakers
out. Knows only the table of transcripts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from habitus.errors import ConfigError, DataError, did_you_mean

PARTS = ("train", "validation", "test", "left-out")


@dataclass(frozen=True)
class SpeechSplit:
    """Divide utterances into train, validation and test.

    Args:
        by: "file" draws files at random. Any other name is a column of the transcripts: if it holds nothing but train,
            validation, test and left-out, it says the part of each row; else (a speaker) rows of one value stay
            together.
        validation: share of files (or of values) that chooses the best epoch.
        test: share that judges; 0 trains on everything else.
        held_out: values of the column that judge, instead of a random share.
        validate_by: "same" holds out for validation as for test; "file" takes files at random of what trains, where
            there are too few speakers to spare one.
        seed: of the random draw.

    >>> SpeechSplit("speaker", held_out=("ann",)).sentence()
    'by speaker: ann judges; of the others 15 % of the values choose the best epoch (seed 0)'
    """

    by: str = "file"
    validation: float = 0.15
    test: float = 0.2
    held_out: tuple[str, ...] = ()
    validate_by: str = "same"
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1):
            raise ConfigError(
                f"validation={self.validation} and test={self.test} leave nothing to train on; give shares such as "
                "validation=0.15 and test=0.2 (validation above 0, their sum below 1)."
            )
        if self.validate_by not in ("same", "file"):
            raise ConfigError(f"validate_by={self.validate_by!r}; {did_you_mean(self.validate_by, ('same', 'file'))}")
        if self.held_out and self.by == "file":
            raise ConfigError(
                f"held_out={list(self.held_out)} names values, but by='file' has no column; give by='speaker', or "
                "whatever column of the transcripts holds them (--split-by speaker)."
            )

    def assign(self, table: pl.DataFrame) -> np.ndarray:
        """Return the part of each row, (n,) of strings.

        Raises:
            DataError: if the column is missing or has empty values, a value is none of the column's, or a part that
                is needed would be empty.
        """
        if self.by == "file":
            parts = self._drawn(np.arange(table.height), self.test, self.validation)
        else:
            parts = self._by_column(self._column(table))
        for part in ("train", "validation"):
            if not (parts == part).any():
                raise DataError(
                    f"The split by '{self.by}' leaves nothing for {part} (of {table.height:,} utterances); give more "
                    "of them, other shares (validation, test) or validate_by='file' ([split])."
                )
        return parts

    def sentence(self) -> str:
        """Say the rule in words, for reports."""
        share = f"{self.validation:.0%}".replace("%", " %")
        what = "files" if self.validate_by == "file" or self.by == "file" else "values"
        if self.held_out:
            judges = f"{', '.join(self.held_out)} judge{'s' if len(self.held_out) == 1 else ''}"
            return (
                f"by {self.by}: {judges}; of the others {share} of the {what} choose the best epoch (seed {self.seed})"
            )
        test = f"{self.test:.0%}".replace("%", " %")
        rule = "random by file" if self.by == "file" else f"by {self.by}"
        return f"{rule} (seed {self.seed}): {share} of the {what} choose the best epoch, {test} judge"

    def _column(self, table: pl.DataFrame) -> pl.Series:
        if self.by not in table.columns:
            raise DataError(
                f"The transcripts have no column '{self.by}' to split by; {did_you_mean(self.by, table.columns)} "
                "by='file' draws files at random."
            )
        values = table[self.by].cast(pl.String)
        if values.null_count():
            raise DataError(f"{values.null_count():,} rows of the transcripts have no '{self.by}'; fill it in.")
        return values

    def _by_column(self, values: pl.Series) -> np.ndarray:
        names = sorted(values.unique().to_list())
        if set(names) <= set(PARTS) and "train" in names:
            return values.to_numpy().astype("<U10")
        for name in self.held_out:
            if name not in names:
                raise DataError(f"held_out: no row has {self.by} = '{name}'; {did_you_mean(name, names)}")
        code = {name: number for number, name in enumerate(names)}
        codes = np.array([code[name] for name in values.to_list()])
        if self.held_out:
            is_test = np.isin(values.to_list(), self.held_out)
        else:
            is_test = self._drawn(codes, self.test, 0.0) == "test"
        parts = np.where(is_test, "test", "train").astype("<U10")
        rest = np.flatnonzero(~is_test)
        units = np.arange(len(rest)) if self.validate_by == "file" else np.unique(codes[rest], return_inverse=True)[1]
        parts[rest] = self._drawn(units, 0.0, self.validation)
        return parts

    def _drawn(self, units: np.ndarray, test: float, validation: float) -> np.ndarray:
        """Return the parts of rows by a random order of their units, int (n,) from 0."""
        order = np.random.default_rng(self.seed).permutation(units.max() + 1 if len(units) else 0)
        position = (order[units] + 0.5) / max(len(order), 1)
        drawn = np.where(position < test, "test", np.where(position < test + validation, "validation", "train"))
        return drawn.astype("<U10")
