"""How wrong transcripts are: word error rate and character error rate, with intervals over utterances.

The fewest substitutions, insertions and deletions that turn an answer into the truth (Levenshtein 1966), summed over
all utterances and divided by the words (or characters, spaces among them) of the truth. 0 is perfect; an answer that
is too long can exceed 1. An utterance is the unit: words within one are not independent, so whole utterances are
drawn. Texts are compared as they are: who wants no case or punctuation takes them out of both first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from habitus.metrics.intervals import Floats, Interval, bootstrap_interval, resamples

Edits = tuple[Floats, Floats]  # edits and units of the truth, of each utterance


def speech_metrics(truth: Sequence[str], answer: Sequence[str], *, n_bootstrap: int = 500) -> Mapping[str, Interval]:
    """Return `wer` and `cer` (lower is better) and `exact`, the share of utterances without an error.

    Args:
        truth: what was said, (n,).
        answer: what was heard, (n,).
        n_bootstrap: resamples of utterances; 0 leaves the intervals undefined.

    >>> found = speech_metrics(["one two", "six"], ["one too", "six"])
    >>> round(found["wer"].value, 3), found["cer"].value, found["exact"].value
    (0.333, 0.1, 0.5)
    """
    parts = _parts(truth, answer)
    values = {name: _ratio(edits.sum(), units.sum()) for name, (edits, units) in parts.items()}
    draws = _draws(parts, len(truth), n_bootstrap)
    return {name: bootstrap_interval(values[name], draws[name]) for name in parts}


def speech_differences(
    truth: Sequence[str], answer: Sequence[str], other: Sequence[str], *, n_bootstrap: int = 500
) -> Mapping[str, Interval]:
    """Return the differences of `speech_metrics`, answer minus other, on the same utterances; below 0 is better.

    >>> speech_differences(["one", "two"], ["one", "two"], ["one", "tea"])["wer"].value
    -0.5
    """
    one, two = _parts(truth, answer), _parts(truth, other)
    first, second = _draws(one, len(truth), n_bootstrap), _draws(two, len(truth), n_bootstrap)
    values = {name: _ratio(*(p.sum() for p in one[name])) - _ratio(*(p.sum() for p in two[name])) for name in one}
    return {name: bootstrap_interval(values[name], first[name] - second[name]) for name in one}


def edit_distance(truth: Sequence[object], answer: Sequence[object]) -> int:
    """Return the fewest substitutions, insertions and deletions between two sequences.

    One pass of numpy a unit of the truth: an insertion to the right is a running minimum of cost minus position.

    >>> edit_distance("kitten", "sitting"), edit_distance([], ["a", "b"])
    (3, 2)
    """
    codes: dict[object, int] = {}
    right = np.array([codes.setdefault(unit, len(codes)) for unit in answer], dtype=np.int64)
    place = np.arange(len(right) + 1)
    costs = place.copy()
    for number, unit in enumerate(truth, start=1):
        kept = costs[:-1] + (right != codes.get(unit, -1))
        reached = np.concatenate([[number], np.minimum(kept, costs[1:] + 1)])
        costs = np.minimum.accumulate(reached - place) + place
    return int(costs[-1])


def _parts(truth: Sequence[str], answer: Sequence[str]) -> dict[str, Edits]:
    assert len(truth) == len(answer), (len(truth), len(answer))
    pairs = list(zip(truth, answer, strict=True))
    words = [edit_distance(one.split(), two.split()) for one, two in pairs]
    characters = [edit_distance(one, two) for one, two in pairs]
    wrong, one_each = [one != two for one, two in pairs], np.ones(len(pairs))
    return {
        "wer": (np.array(words, float), np.array([len(one.split()) for one in truth], float)),
        "cer": (np.array(characters, float), np.array([len(one) for one in truth], float)),
        "exact": (1.0 - np.array(wrong, float), one_each),
    }


def _draws(parts: Mapping[str, Edits], n: int, n_bootstrap: int) -> dict[str, Floats]:
    """Return each metric of every resample, (b,): the same resamples for everything that is compared."""
    found: dict[str, list[Floats]] = {name: [] for name in parts}
    for weights in resamples(n, n_bootstrap):
        for name, (edits, units) in parts.items():
            total = weights @ units
            found[name].append(np.where(total > 0, weights @ edits / np.maximum(total, 1.0), np.nan))
    return {name: np.concatenate(blocks) if blocks else np.zeros(0) for name, blocks in found.items()}


def _ratio(edits: float, units: float) -> float:
    return float(edits / units) if units else float("nan")
