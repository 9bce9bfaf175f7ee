"""Written sequences against their references: BLEU, chrF, exact match and token accuracy, with intervals over rows.

BLEU (Papineni et al. 2002, https://aclanthology.org/P02-1040) and chrF (Popović 2015,
https://aclanthology.org/W15-3049) count as sacrebleu does (Post 2018, arXiv:1804.08771), on its scale of 0 to 100. A
BLEU is comparable with another one of the same signature only, above all of the same tokenizer: `signature` says it.

Both are functions of sums over rows. The sums of each row are taken once; a bootstrap resample of the rows (Koehn 2004,
https://aclanthology.org/W04-3250) then costs a product of matrices, and no text is read twice. Needs the extra `text`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from habitus.errors import ConfigError, did_you_mean, require
from habitus.metrics.intervals import Floats, Interval, bootstrap_interval, resamples

TOKENIZERS = ("auto", "13a", "intl", "char", "zh", "none")
_ORDER = 4  # of BLEU's n-grams
_BETA = 2.0  # chrF weighs recall twice
_N_BOOTSTRAP = 500
_UNSPACED = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # kana and Han characters


@dataclass(frozen=True)
class TextSums:
    """What BLEU and the other metrics add up, of each row.

    Args:
        bleu: (n, 10): tokens of the answer, of the reference, matches of 1- to 4-grams, and how many the answer has.
        chrf: (n, 18): of character 1- to 6-grams in the answer, in the reference, in both; None for token lists.
        exact: (n,), 1.0 where the answer is the reference.
        places: (n, 2): places where answer and reference have the same token, and places of the longer one.
    """

    bleu: Floats
    chrf: Floats | None
    exact: Floats
    places: Floats


def choose_tokenizer(truth: Sequence[Any], asked: str = "auto") -> str:
    """Return the BLEU tokenizer for references: "char" where most letters are kana or Han, else "13a"; lists "none".

    >>> choose_tokenizer(["彼は行った。"]), choose_tokenizer(["he went ."]), choose_tokenizer([["a", "b"]])
    ('char', '13a', 'none')
    """
    if asked not in TOKENIZERS:
        raise ConfigError(f"bleu_tokenizer={asked!r} is not known; {did_you_mean(asked, TOKENIZERS)}")
    if len(truth) and not isinstance(truth[0], str):
        return "none"
    if asked != "auto":
        return asked
    letters = [ord(letter) for text in truth[:1000] for letter in text if letter.isalpha()]
    unspaced = sum(any(low <= code <= high for low, high in _UNSPACED) for code in letters)
    return "char" if unspaced > len(letters) / 2 else "13a"


def signature(tokenizer: str) -> str:
    """Return sacrebleu's signature of BLEU, which a published figure must share to be comparable."""
    metric = _bleu(tokenizer)
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature().format())


def text_sums(truth: Sequence[Any], answer: Sequence[Any], tokenizer: str) -> TextSums:
    """Return the sums of each row.

    Args:
        truth, answer: n texts each, or n token lists each.
        tokenizer: of BLEU, as `choose_tokenizer` returns it.
    """
    is_text = not len(truth) or isinstance(truth[0], str)
    exact = np.array([one == other for one, other in zip(truth, answer, strict=True)], dtype=np.float64)
    places = np.array(
        [_places(_cut(one, tokenizer), _cut(other, tokenizer)) for one, other in zip(truth, answer, strict=True)],
        dtype=np.float64,
    ).reshape(-1, 2)
    if not is_text:
        truth, answer = _coded(truth, answer)
    # sacrebleu's sums of one row each: what its own significance tests read (the tests hold them to `corpus_score`)
    bleu = _bleu(tokenizer)._extract_corpus_statistics(list(answer), [list(truth)])
    chrf = _chrf()._extract_corpus_statistics(list(answer), [list(truth)]) if is_text else None
    width = 2 + 2 * _ORDER
    return TextSums(
        np.array(bleu, dtype=np.float64).reshape(-1, width),
        None if chrf is None else np.array(chrf, dtype=np.float64).reshape(-1, 18),
        exact,
        places,
    )


def text_metrics(sums: TextSums, n_bootstrap: int = _N_BOOTSTRAP) -> dict[str, Interval]:
    """Return `bleu`, `chrf` (of texts), `exact` and `token_accuracy`, with 95 % intervals.

    `bleu` and `chrf` go from 0 to 100, the others from 0 to 1. `exact` is the share of answers that are the reference;
    `token_accuracy` the share of places with the same token, of the places of the longer one (whitespace words; with
    the tokenizer "char" characters).

    >>> text_metrics(text_sums([["a", "b"]], [["a", "c"]], "none"))["token_accuracy"].value
    0.5
    """
    draws = _draws(sums, n_bootstrap)
    return {name: bootstrap_interval(value, draws[name]) for name, value in _values(sums).items()}


def text_differences(sums: TextSums, other: TextSums, n_bootstrap: int = _N_BOOTSTRAP) -> dict[str, Interval]:
    """Return first minus second of every metric, paired: both on the same resamples of the rows."""
    one, two = _draws(sums, n_bootstrap), _draws(other, n_bootstrap)
    ours, theirs = _values(sums), _values(other)
    return {name: bootstrap_interval(ours[name] - theirs[name], one[name] - two[name]) for name in ours}


def bleu_of(sums: Floats) -> Floats:
    """Return BLEU of sums (b, 10), float64 (b,), 0 to 100: sacrebleu's `compute_bleu` with smoothing "exp".

    >>> bleu_of(np.array([[4.0, 4, 4, 3, 2, 1, 4, 3, 2, 1]])).round(6).tolist()
    [100.0]
    """
    length, wanted = sums[:, 0], sums[:, 1]
    correct, total = sums[:, 2 : 2 + _ORDER], sums[:, 2 + _ORDER :]
    halvings = np.cumsum(correct == 0, axis=1)  # the k-th order without a match counts as 1 / 2^k matches
    matched = np.where(correct == 0, 0.5**halvings, correct)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_precision = np.where(total > 0, np.log(matched / total), -np.inf).mean(axis=1)
        brevity = np.where(length < wanted, np.exp(1 - wanted / length), 1.0)
    return np.where(correct.any(axis=1), 100 * brevity * np.exp(log_precision), 0.0)


def chrf_of(sums: Floats) -> Floats:
    """Return chrF2 of sums (b, 18), float64 (b,), 0 to 100: sacrebleu's, which leaves out orders that a side lacks."""
    answered, wanted, matched = (sums[:, side::3] for side in range(3))
    counts = (answered > 0) & (wanted > 0)
    n_orders = np.maximum(counts.sum(axis=1), 1)
    precision = np.where(counts, matched / np.maximum(answered, 1), 0.0).sum(axis=1) / n_orders
    recall = np.where(counts, matched / np.maximum(wanted, 1), 0.0).sum(axis=1) / n_orders
    below = _BETA**2 * precision + recall
    return np.where(below > 0, 100 * (1 + _BETA**2) * precision * recall / np.where(below > 0, below, 1), 0.0)


def _values(sums: TextSums) -> dict[str, float]:
    n = len(sums.exact)
    if not n:
        return dict.fromkeys(["bleu", *(["chrf"] if sums.chrf is not None else []), "exact", "token_accuracy"], np.nan)
    return {name: float(draw[0]) for name, draw in _weighted(sums, np.ones((1, n))).items()}


def _draws(sums: TextSums, n_bootstrap: int) -> dict[str, Floats]:
    blocks = [_weighted(sums, weights) for weights in resamples(len(sums.exact), n_bootstrap)]
    names = _values(sums)
    return {name: np.concatenate([block[name] for block in blocks] or [np.zeros(0)]) for name in names}


def _weighted(sums: TextSums, weights: Floats) -> dict[str, Floats]:
    """Return the metrics under row weights (b, n), (b,) each."""
    found = {"bleu": bleu_of(weights @ sums.bleu)}
    if sums.chrf is not None:
        found["chrf"] = chrf_of(weights @ sums.chrf)
    places = weights @ sums.places
    return found | {
        "exact": weights @ sums.exact / weights.sum(axis=1),
        "token_accuracy": places[:, 0] / np.maximum(places[:, 1], 1),
    }


def _cut(unit: Any, tokenizer: str) -> list[str]:
    if not isinstance(unit, str):
        return list(unit)
    return list("".join(unit.split())) if tokenizer in ("char", "zh") else unit.split()


def _places(truth: list[str], answer: list[str]) -> tuple[int, int]:
    same = sum(one == other for one, other in zip(truth, answer, strict=False))
    return same, max(len(truth), len(answer))


def _coded(truth: Sequence[Any], answer: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return token lists as texts of numbers, one for each different token, for a metric that reads words."""
    codes: dict[str, str] = {}

    def of(rows: Sequence[Any]) -> list[str]:
        return [" ".join(codes.setdefault(token, str(len(codes))) for token in row) for row in rows]

    return of(truth), of(answer)


@functools.lru_cache(maxsize=8)
def _bleu(tokenizer: str) -> Any:
    return require("sacrebleu", "text").metrics.BLEU(tokenize=tokenizer, force=True)


@functools.lru_cache(maxsize=1)
def _chrf() -> Any:
    return require("sacrebleu", "text").metrics.CHRF()
