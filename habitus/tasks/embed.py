"""Embed: a vector for a text or a history, near where two of them mean the same, far where they do not.

What says which belong together is in the data (`data/embed/rows.py`); how the network learns it is `loss`:

    cosent       scores: every pair of units in the order of their scores (Su 2022, https://kexue.fm/archives/8847)
    cosine       scores: the squared error of the cosine (Reimers and Gurevych 2019, arXiv:1908.10084, section 3)
    negatives    pairs, classes: the own right side among those of the batch (van den Oord et al. 2018,
                 arXiv:1807.03748, eq. 4; Henderson et al. 2017, arXiv:1705.00652, section 4)
    dropout      any text: itself under another dropout mask, among the others of the batch (SimCSE, Gao et al. 2021,
                 arXiv:2104.08821, section 3); reads no target
    slices       histories: random slices of one, among those of others (CoLES, arXiv:2002.08232)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from habitus.config import check_choice
from habitus.data.embed.rows import EmbedRows
from habitus.errors import ConfigError
from habitus.metrics import Interval
from habitus.metrics.embed import rank_differences, rank_metrics, score_differences, score_metrics, spearman
from habitus.tasks.judged import JudgedTask

Loss = Literal["auto", "cosent", "cosine", "negatives", "dropout", "slices"]
LOSSES_OF: Mapping[str, tuple[str, ...]] = {  # of each kind of data, the first one by itself
    "scores": ("cosent", "cosine", "dropout"),
    "pairs": ("negatives", "dropout"),
    "classes": ("negatives", "dropout"),
    "texts": ("dropout",),
    "events": ("slices",),
}
_JUDGED_BY = {
    "scores": "the correlation of cosines with the scores",
    "pairs": "the rank of the own right text among all distinct right texts judged",
    "classes": "the rank of the nearest text of the same class among all others judged",
    "texts": "the rank of a text's second half among all second halves, asked with its first half",
    "events": "the rank of an entity's later half among all later halves, asked with its earlier half",
}


@dataclass(frozen=True)
class Embed(JudgedTask):
    """Give every text or history a vector.

    Args:
        target: column of the examples that says how alike two texts are (numbers), whether they belong together (0 and
            1), or to which class a text belongs; empty: two texts of a row belong together, one text is learned alone.
        loss: how it is learned; "auto" takes what fits the data.
        temperature: divides the cosines of "negatives", "dropout", "slices" and "cosent"; the smaller, the more the
            nearest strangers count.
        size: width of the vectors; None: that of the backbone, without a further layer.
        sizes: also learn vectors that are cut to these widths, for which `embed(size=...)` is then good (Kusupati et
            al. 2022, arXiv:2205.13147, eq. 1).
        kind: what the data says, see `data/embed/rows.py`; filled in by a fit.

    >>> Embed("score").name, Embed(sizes=(64, 32)).sizes
    ('embed', (64, 32))
    """

    name: ClassVar[str] = "embed"

    target: str = ""
    loss: Loss = "auto"
    temperature: float = 0.05
    size: int | None = None
    sizes: tuple[int, ...] = ()
    kind: str = ""

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, get_args(Loss))
        if not self.temperature > 0:
            raise ConfigError(f"temperature={self.temperature} must be above 0, such as 0.05.")
        for width in (*self.sizes, *(() if self.size is None else (self.size,))):
            if width < 1:
                raise ConfigError(f"size={width} is no width; use 1 or more, such as 64.")

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The metric that says who is best."""
        return "spearman" if self.kind == "scores" else "mrr"

    @property
    def unit(self) -> str:  # type: ignore[override]
        """What `n` counts."""
        return {"scores": "pairs", "pairs": "pairs", "events": "histories"}.get(self.kind, "texts")

    @property
    def learned_by(self) -> str:
        """The loss that holds for the data."""
        return LOSSES_OF[self.kind][0] if self.loss == "auto" else self.loss

    def refuse_kind(self, kind: str) -> None:
        """Refuse data that says nothing to the loss.

        Raises:
            ConfigError: if it does not.
        """
        if self.loss != "auto" and self.loss not in LOSSES_OF[kind]:
            raise ConfigError(
                f"loss='{self.loss}' does not learn from {_MEANS[kind]}; use {' or '.join(LOSSES_OF[kind])}, or leave "
                "it out."
            )

    def metrics(self, truth: EmbedRows, answer: np.ndarray) -> Mapping[str, Interval]:
        """Return all metrics; `answer` is that of `data/embed/answers.py`."""
        return score_metrics(truth.target, answer) if truth.kind == "scores" else rank_metrics(answer)

    def differences(self, truth: EmbedRows, answer: np.ndarray, other: np.ndarray) -> Mapping[str, Interval]:
        """Return paired differences, answer minus other."""
        if truth.kind == "scores":
            return score_differences(truth.target, answer, other)
        return rank_differences(answer, other)

    def monitor_value(self, truth: EmbedRows, answer: np.ndarray) -> float:
        """Return the monitor alone, for choosing the best epoch; 0 where it has no value."""
        value = spearman(truth.target, answer) if truth.kind == "scores" else float(np.nanmean(1 / answer))
        return value if np.isfinite(value) else 0.0

    def protocol(self) -> Mapping[str, Any]:
        """Say what is judged, and what was learned from."""
        return {"judged by": _JUDGED_BY[self.kind], "learned by": self.learned_by}


_MEANS = {
    "scores": "pairs of texts with scores",
    "pairs": "pairs of texts",
    "classes": "texts with classes",
    "texts": "texts alone",
    "events": "histories",
}
