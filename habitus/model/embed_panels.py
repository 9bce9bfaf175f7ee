"""What the report of an `Embed` shows beside its figures: units that went wrong, and the vectors in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from habitus.data.embed.rows import EmbedEncoder, EmbedRows

_SHOWN, _POINTS, _CLASSES, _LETTERS = 12, 400, 8, 90


def embed_panels(
    encoder: EmbedEncoder, rows: EmbedRows, answers: Mapping[str, np.ndarray], vectors: np.ndarray
) -> list[dict[str, Any]]:
    """Return tables and pictures as plain data.

    Args:
        encoder: knows the range of scores and the names of classes.
        rows: the units that were judged.
        answers: of "model" and each rival.
        vectors: of the left sides, (n, D).
    """
    panels = []
    if rows.texts.width:
        panels.append(_worst(encoder, rows, answers["model"]))
    if len(rows) > 2:
        panels.append(_map(encoder, rows, vectors))
    return panels


def in_two(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two directions of greatest variance, (n, 2), and the share of the variance of each, (2,).

    Principal components; each direction points to where its largest weight is positive, so that the picture is the
    same on every machine.

    >>> points, share = in_two(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 1.0]]))
    >>> points[:, 0].tolist(), share.round(2).tolist()
    ([-1.0, 1.0, -1.0, 1.0], [0.8, 0.2])
    """
    centered = vectors.astype(np.float64) - vectors.mean(0)
    _, strength, axes = np.linalg.svd(centered, full_matrices=False)
    axes = axes[:2] * np.sign(np.take_along_axis(axes[:2], np.abs(axes[:2]).argmax(1)[:, None], 1))
    points = np.zeros((len(vectors), 2))
    points[:, : len(axes)] = centered @ axes.T
    share = np.zeros(2)
    share[: len(axes)] = (strength**2)[:2] / max((strength**2).sum(), 1e-12)
    return points, share


def _worst(encoder: EmbedEncoder, rows: EmbedRows, answer: np.ndarray) -> dict[str, Any]:
    """Return the units that the model gets most wrong."""
    if rows.kind == "scores":
        wrong = np.abs(_order(answer) - _order(rows.target))
        columns = [*rows.texts.columns, "score", "cosine"]
        told = [rows.target.round(3).tolist(), answer.round(3).tolist()]
    else:
        wrong, columns, told = np.nan_to_num(answer), [*rows.texts.columns, "rank of the right one"], [answer.tolist()]
        if rows.kind == "classes":
            columns = [*columns[:-1], "class", columns[-1]]
            told = [[_class_name(encoder, code) for code in rows.target], *told]
    worst = np.argsort(-wrong, kind="stable")[:_SHOWN]
    texts = [[cut(one) for one in rows.texts[name].fill_null("").to_list()] for name in rows.texts.columns]
    return {
        "kind": "table",
        "title": "Where it goes most wrong",
        "caption": f"{len(worst)} of {len(rows):,} units, the worst first.",
        "columns": columns,
        "rows": [[column[i] for column in [*texts, *told]] for i in worst.tolist()],
    }


def _map(encoder: EmbedEncoder, rows: EmbedRows, vectors: np.ndarray) -> dict[str, Any]:
    """Return the vectors in two dimensions; of classes the commonest ones by colour."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(_POINTS, len(rows))).astype(int))
    points, share = in_two(vectors[chosen])
    groups = {"": np.arange(len(chosen))}
    if rows.kind == "classes":
        codes, counts = np.unique(rows.target[chosen], return_counts=True)
        common = codes[np.argsort(-counts, kind="stable")][:_CLASSES]
        groups = {_class_name(encoder, code): np.flatnonzero(rows.target[chosen] == code) for code in common}
    return {
        "kind": "points",
        "title": "The vectors in two dimensions",
        "caption": f"{len(chosen)} of {len(rows):,} units along the two directions of greatest variance, which hold "
        f"{share[0]:.0%} and {share[1]:.0%} of it. Apart here is apart; together need not be close.",
        "x_label": "first direction",
        "y_label": "second direction",
        "points": [
            {"name": name, "x": points[at, 0].round(4).tolist(), "y": points[at, 1].round(4).tolist()}
            for name, at in groups.items()
        ],
    }


def cut(text: str) -> str:
    """Return a text as it fits into a table."""
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"


def _order(values: np.ndarray) -> np.ndarray:
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return np.asarray(order / max(len(values) - 1, 1))


def _class_name(encoder: EmbedEncoder, code: float) -> str:
    return encoder.classes[int(code)] if int(code) < len(encoder.classes) else "a class of no training text"
