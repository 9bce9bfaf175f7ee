"""Pictures of a report on written sequences: examples, and where the decoder looked for one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from habitus.data.pairs.table import PairRows

if TYPE_CHECKING:
    from habitus.model.generate_pairs import GenerateModel

_N_EXAMPLES = 12
_MOST_TOKENS = 16  # of a sentence whose attention is drawn


def generate_panels(
    model: GenerateModel, rows: PairRows, truth: Sequence[Any], answers: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """Return a table of examples and the attention of one of them, as plain data."""
    if not len(rows):
        return []
    return [_examples(rows, truth, answers), *_attention(model, rows, truth, answers["model"])]


def _examples(rows: PairRows, truth: Sequence[Any], answers: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return examples spread evenly over the judged pairs: not the best ones."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, _N_EXAMPLES).astype(int)).tolist()
    sources = rows.sources.to_list()
    lines = [[_text(side[row]) for side in (sources, truth, *answers.values())] for row in chosen]
    names = ["output" if name == "model" else name for name in answers]
    return {
        "kind": "table",
        "title": "Examples",
        "caption": f"{len(chosen)} of {len(rows):,} judged pairs, evenly spread; neither the best nor the worst.",
        "columns": ["source", "reference", *names],
        "rows": lines,
    }


def _attention(
    model: GenerateModel, rows: PairRows, truth: Sequence[Any], written: Sequence[Any]
) -> list[dict[str, Any]]:
    """Return where the decoder looked while it wrote the first answer to a source of a middling length."""
    lengths = rows.source_ids.lengths
    fitting = np.flatnonzero((lengths > 3) & (lengths <= _MOST_TOKENS)).tolist()
    if not fitting:
        return []
    row = next((row for row in fitting if written[row]), fitting[0])
    across, down, weights = model.align(rows.sources[row], written[row] or truth[row])
    read = "" if written[row] else " The answer is empty; this is the reference, as the decoder would read it."
    return [
        {
            "kind": "heat",
            "title": "Where the decoder looked",
            "caption": "Attention of each written token (down) to each source token (across); lines sum to 1. A sign "
            f"of alignment, not a proof of it.{read}",
            "columns": across,
            "rows": down,
            "matrix": weights.round(3).tolist(),
        }
    ]


def _text(unit: Any) -> str:
    return unit if isinstance(unit, str) else " ".join(unit)
