"""Reading characters out of a network's steps: the decoders of connectionist temporal classification.

A network gives each step probabilities of every character and of a blank; a text is worth the sum over all ways to
spread it over the steps, repeats merged and blanks removed (Graves et al. 2006, "Connectionist temporal
classification", https://doi.org/10.1145/1143844.1143891, eq. 2-3; blank is number 0 here). `greedy` takes the
likeliest way, `beam` the likeliest text among prefixes that are kept (Graves 2012, "Supervised sequence labelling",
section 7.5; differs in keeping a fixed number of prefixes, and no language model), of any characters or of known
words. NumPy; knows no characters.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from habitus.tasks.lexicon import Lexicon, Place

BLANK = 0
_NEVER = -math.inf
_LEAST = 1e-6  # a character of a smaller share in a step starts no new prefix


def greedy(log_probs_TC: np.ndarray) -> list[int]:
    """Return the characters of the likeliest way: best of each step, repeats merged, blanks removed.

    >>> greedy(np.log(np.eye(3)[[1, 1, 0, 1, 2, 2]] + 1e-9))
    [1, 1, 2]
    """
    best = log_probs_TC.argmax(1)
    is_new = np.concatenate([[True], best[1:] != best[:-1]]) if len(best) else np.zeros(0, bool)
    return best[is_new & (best != BLANK)].tolist()


def beam(log_probs_TC: np.ndarray, width: int = 16, lexicon: Lexicon | None = None) -> list[int]:
    """Return the likeliest text found by a prefix beam search.

    Args:
        log_probs_TC: logarithms of the shares of blank (0) and characters at each step.
        width: prefixes that are kept; 1 is close to `greedy`.
        lexicon: the words that a text is made of; None: any characters. Where no prefix that was kept ends with a whole
            word, the likeliest one is cut back to its last whole word.

    >>> log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])  # blank blank .36; but a- -a aa are .64 together
    >>> greedy(log_probs), beam(log_probs)
    ([], [1])
    """
    prefixes: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, _NEVER)}  # ending in blank, in its last character
    places: dict[tuple[int, ...], Place] = {(): lexicon.start} if lexicon else {}
    for step in log_probs_TC:
        likely = [int(c) for c in np.flatnonzero(step > math.log(_LEAST)) if c != BLANK]
        found: dict[tuple[int, ...], tuple[float, float]] = {}
        for prefix, (blank, last) in prefixes.items():
            total = _add(blank, last)
            _credit(found, prefix, total + float(step[BLANK]), _NEVER)
            if prefix:
                _credit(found, prefix, _NEVER, last + float(step[prefix[-1]]))
            for character in lexicon.following(places[prefix]) if lexicon else likely:
                # a repeat makes a new character only after a blank
                before = blank if prefix and character == prefix[-1] else total
                _credit(found, (*prefix, character), _NEVER, before + float(step[character]))
        ranked = sorted(found.items(), key=lambda item: (-_add(*item[1]), item[0]))
        prefixes = dict(ranked[:width])
        if lexicon:
            places = {one: places[one] if one in places else _next(lexicon, places, one) for one in prefixes}
    if lexicon is None:
        return list(next(iter(prefixes)))
    return _whole(lexicon, list(prefixes))


def _next(lexicon: Lexicon, places: Mapping[tuple[int, ...], Place], prefix: tuple[int, ...]) -> Place:
    return lexicon.following(places[prefix[:-1]])[prefix[-1]]


def _whole(lexicon: Lexicon, ranked: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the first text whose words are whole, or of the first one those that are."""
    for text in ranked:
        if lexicon.is_text(lexicon.after(text)):
            return list(text)
    text = ranked[0]
    while not lexicon.is_text(lexicon.after(text)):
        text = text[:-1]
    return list(text)


def text_log_prob(log_probs_TC: np.ndarray, text: Sequence[int]) -> float:
    """Return the logarithm of the sum over all ways to spread a text over the steps; -inf if it is too long.

    The forward variables of Graves et al. 2006, eq. 6-8, in logarithms.

    >>> round(math.exp(text_log_prob(np.log([[0.6, 0.4], [0.6, 0.4]]), [1])), 6)
    0.64
    """
    spread = [BLANK]
    for character in text:
        spread += [character, BLANK]
    labels = np.array(spread)
    skips = np.zeros(len(labels), bool)
    skips[2:] = (labels[2:] != BLANK) & (labels[2:] != labels[:-2])
    alpha = np.full(len(labels), _NEVER)
    alpha[0] = 0.0
    with np.errstate(invalid="ignore"):
        for number, step in enumerate(log_probs_TC):
            one = np.concatenate([[_NEVER], alpha[:-1]])
            two = np.where(skips, np.concatenate([[_NEVER, _NEVER], alpha[:-2]])[: len(labels)], _NEVER)
            if number == 0:
                two = np.full(len(labels), _NEVER)
            alpha = np.logaddexp(np.logaddexp(alpha, one), two) + step[labels]
    return _add(float(alpha[-1]), float(alpha[-2]) if len(alpha) > 1 else _NEVER)


def steps_needed(text: Sequence[int]) -> int:
    """Return the fewest steps that can hold a text: its characters, and a blank between two of the same.

    >>> steps_needed([1, 2, 2])
    4
    """
    return len(text) + sum(one == two for one, two in itertools.pairwise(text))


def _credit(found: dict[tuple[int, ...], tuple[float, float]], prefix: tuple[int, ...], a: float, b: float) -> None:
    blank, last = found.get(prefix, (_NEVER, _NEVER))
    found[prefix] = (_add(blank, a), _add(last, b))


def _add(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    if a == _NEVER or b == _NEVER:
        return max(a, b)
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
