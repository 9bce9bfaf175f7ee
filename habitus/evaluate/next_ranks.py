"""At which rank a next-event model and its counting rivals have the true items of the test part.

An evaluation holds metrics; comparisons of models, hits by popularity and example timelines need the ranks themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from habitus.data.next_batch import HistoryTensors
from habitus.fields.category import N_RESERVED
from habitus.metrics import wilson
from habitus.metrics.rank import rank_values
from habitus.model import NextEventModel
from habitus.model.judging import asked, rival_answers
from habitus.next_prepared import PreparedNext
from habitus.tasks.ranking import Questions, rank_targets

_BANDS = 5


@dataclass(frozen=True)
class Ranks:
    """Ranks from 1 of the true items, by the name of who answered; the model itself comes first.

    Args:
        questions: what was asked, and what was true.
        by_name: int64 (q,) each.
    """

    questions: Questions
    by_name: dict[str, np.ndarray]


def headline_ranks(model: NextEventModel, prepared: PreparedNext, most: int | None = None) -> Ranks:
    """Return the ranks of the model and of its rivals on the target that the first table shows.

    Args:
        model: fitted on `prepared`.
        prepared: with a test part.
        most: questions at most, spread evenly over all, if they must be asked again; None takes all.
    """
    questions = next(iter(prepared.test().values()))
    known = _known_ranks(model, questions)
    if known is not None:
        return Ranks(questions, known)
    if most is not None:
        questions = questions.first(most)
    found = {model.name: model_ranks(model, prepared, questions)}
    found |= {rival.name: rival_answers(model, rival, prepared, questions).ranks for rival in model.baselines_}
    return Ranks(questions, found)


def model_ranks(model: NextEventModel, prepared: PreparedNext, questions: Questions) -> np.ndarray:
    """Return the rank of each true item, int64 (q,), of any questions."""
    tensors = HistoryTensors(prepared.histories)
    return rank_targets(model.network_, tensors, asked(model, questions), filter_seen=model.filter_seen_)


def _known_ranks(model: NextEventModel, questions: Questions) -> dict[str, np.ndarray] | None:
    """Return the ranks that the evaluation of the fit kept, by name; None if there is none of these questions."""
    evaluation = getattr(model, "evaluation_", None)  # a loaded model has none
    judged = None if evaluation is None else evaluation.headline
    if judged is None or judged.ranks is None or len(judged.ranks) != len(questions):
        return None
    return {model.name: judged.ranks, **judged.rival_ranks}


def by_popularity(ranks: Ranks, popularity: np.ndarray) -> list[dict[str, object]]:
    """Return the hits among ten by how popular the true item was in training, the most popular first.

    Items are cut, in order of their training events, into bands of about a fifth of all training events each; items
    that training never saw are a last band, which nobody can hit.

    Args:
        ranks: of model and rivals.
        popularity: int64 (V,), training events of every id.

    >>> questions = Questions(None, None, None, target=np.array([3, 4, 1]))
    >>> found = by_popularity(Ranks(questions, {"GRU": np.array([1, 30, 99])}), np.array([0, 0, 0, 9, 1]))
    >>> [(band["band"], band["n"], band["hits"]["GRU"]["value"]) for band in found]
    [('top 20 %', 1, 1.0), ('80-100 %', 1, 0.0), ('not in training', 1, 0.0)]
    """
    target = ranks.questions.target
    assert target is not None, "these questions have answers"
    band_of_id = _bands(popularity)
    band = np.where(target < N_RESERVED, _BANDS, band_of_id[np.maximum(target, N_RESERVED)])
    hits = {name: rank_values(found, "hr@10") for name, found in ranks.by_name.items()}
    return [
        {
            "band": _band_name(number),
            "items": int((band_of_id[N_RESERVED:] == number).sum()) if number < _BANDS else None,
            "n": int(chosen.sum()),
            "hits": {name: wilson(float(hit[chosen].sum()), int(chosen.sum())).to_json() for name, hit in hits.items()},
        }
        for number in range(_BANDS + 1)
        if (chosen := band == number).any()
    ]


def _bands(popularity: np.ndarray) -> np.ndarray:
    """Return the band of every id, int64 (V,): by the share of training events of more popular items."""
    counts = popularity.astype(np.float64)
    counts[:N_RESERVED] = 0
    order = np.argsort(-counts, kind="stable")
    before = np.empty(len(counts))
    before[order] = (np.cumsum(counts[order]) - counts[order]) / max(counts.sum(), 1)
    band = np.minimum((before * _BANDS).astype(np.int64), _BANDS - 1)
    return np.where(popularity > 0, band, _BANDS)


def _band_name(number: int) -> str:
    share = 100 // _BANDS
    if number == _BANDS:
        return "not in training"
    return f"top {share} %" if number == 0 else f"{number * share}-{(number + 1) * share} %"
