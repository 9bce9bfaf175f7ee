"""Rejects: the rows that could not be read, counted by reason, with samples that name file, row and field.

Nothing is dropped in silence: a reader keeps every count and up to 1,000 sample rows, and writes them to a
CSV file. Rows are numbered from 1 within their file, headers not counted. Knows nothing about what makes a row bad.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MAX_SAMPLES = 1000
_MAX_VALUE = 200  # characters of a bad value that are kept


@dataclass(frozen=True)
class Reject:
    """One rejected row.

    Args:
        file: path of the file, or a description of the table it came from.
        row: row number within it, from 1, header not counted.
        field: column whose value was bad.
        value: that value, as text, cut at 200 characters.
        reason: what is wrong with it.
    """

    file: str
    row: int
    field: str
    value: str
    reason: str

    def sentence(self) -> str:
        """Say where and what.

        >>> Reject("log.csv", 7, "amount", "'abc'", "is not a number").sentence()
        "log.csv, row 7: 'amount' = 'abc' is not a number"
        """
        return f"{self.file}, row {self.row}: '{self.field}' = {self.value} {self.reason}"


@dataclass(frozen=True)
class Rejects:
    """Counts of rejected rows by reason, and samples.

    Args:
        n_rows: rows that were read, rejected ones included.
        counts: rejected rows by reason (a row counts once, under its first bad field).
        samples: up to 1,000 of them, the earliest that were met.

    >>> Rejects(n_rows=10, counts={"'amount' is not a number": 2}).summary()
    "2 of 10 rows were rejected: 2 because 'amount' is not a number."
    """

    n_rows: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    samples: Sequence[Reject] = ()

    @property
    def total(self) -> int:
        """Number of rejected rows."""
        return sum(self.counts.values())

    def __bool__(self) -> bool:
        return self.total > 0

    def summary(self) -> str:
        """Say in one sentence how many rows were rejected, and why."""
        if not self.total:
            return f"None of {self.n_rows:,} rows was rejected."
        ordered = sorted(self.counts.items(), key=lambda item: -item[1])
        reasons = "; ".join(f"{count:,} because {reason}" for reason, count in ordered)
        return f"{self.total:,} of {self.n_rows:,} rows were rejected: {reasons}."

    def before(self, others: Rejects) -> Rejects:
        """Return these and then others, counted together.

        >>> Rejects(1, {"the file is empty (0 bytes)": 1}).before(Rejects(n_rows=9)).total
        1
        """
        if not self:
            return others
        counts = dict(self.counts)
        for reason, count in others.counts.items():
            counts[reason] = counts.get(reason, 0) + count
        return Rejects(self.total + others.n_rows, counts, [*self.samples, *others.samples][:MAX_SAMPLES])

    @classmethod
    def together(cls, found: Sequence[Rejects]) -> Rejects:
        """Return the rejects of several tables as one.

        >>> Rejects.together([Rejects(5, {"it is empty": 1}), Rejects(9, {"it is empty": 2})]).counts
        {'it is empty': 3}
        """
        counts: dict[str, int] = {}
        for one in found:
            for reason, n in one.counts.items():
                counts[reason] = counts.get(reason, 0) + n
        return cls(sum(one.n_rows for one in found), counts, [sample for one in found for sample in one.samples])

    def to_json(self) -> dict[str, Any]:
        """Return plain data for reports."""
        return {
            "n_rows": self.n_rows,
            "n_rejected": self.total,
            "counts": dict(self.counts),
            "samples": [asdict(sample) for sample in self.samples],
        }

    def write_csv(self, path: str | Path) -> Path:
        """Write the samples (file, row, field, value, reason) and return the path.

        The last line says how many more rows were rejected than are listed.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "row", "field", "value", "reason"])
            writer.writerows([s.file, s.row, s.field, s.value, s.reason] for s in self.samples)
            if self.total > len(self.samples):
                writer.writerow(["", "", "", "", f"and {self.total - len(self.samples)} more rows"])
        return path


def printed(value: Any) -> str:
    """Return a bad value as text that any file can hold, cut at 200 characters.

    >>> printed("a" * 300)[-20:]
    '... (302 characters)'
    """
    text = "missing" if value is None else repr(value) if isinstance(value, str | bytes) else str(value)
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}... ({len(text)} characters)"
