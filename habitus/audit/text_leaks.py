"""The leak check of texts: does something in them, or beside them, give the target away?

    find_text_leaks = contradictions + copies on both sides + the length, a word, or the label's own name that decides
                      + profile fields that decide or sound like answers + entities on both sides

A word that goes with one of many topics is what a model is to learn; only what tells a class nearly alone is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from habitus.audit.bars import MIN_CLASS, Decides, judge_having, judge_number, judge_related
from habitus.audit.case import Case, open_case
from habitus.audit.deciding import best, find_deciding
from habitus.audit.leak import Leak, Severity, counted, shown
from habitus.audit.leakage import both_sides, named_like_answers
from habitus.audit.texts import CheckedTexts, contradicting
from habitus.data.text.clean import cleaned
from habitus.fields.category import N_RESERVED

_MANY_CONTRADICT = 0.01
_DECIDES = 0.95  # AUC of having a word from which it is a warning
_MOST_NAMED, _MOST_CLASSES, _SHORTEST_NAME = 5, 20, 3


def find_text_leaks(checked: CheckedTexts) -> list[Leak]:
    """Look for what gives the target away in a table of texts; warnings come first.

    >>> from habitus.data.options import Data
    >>> from habitus.data.text.table import read_texts
    >>> table = pl.DataFrame({"review": ["A good film", "a good film!", "bad"], "mood": ["up", "down", "down"]})
    >>> checked = CheckedTexts.of(read_texts(table, Data(text="review"), target="mood"), Data(text="review"))
    >>> [leak.kind for leak in find_text_leaks(checked)]
    ['contradicting-labels']
    """
    examples = checked.found.examples
    case = open_case(checked.found.log(), examples)
    found = [*_contradictions(checked), *_copies(checked), *_length(checked, case), *_words(checked, case)]
    found += [*_names_of_labels(checked), *find_deciding(case), *named_like_answers(case, examples.target)]
    if checked.part is not None:
        found += both_sides(case, checked.part)
    return sorted(found, key=lambda leak: leak.severity != "warning")


def _contradictions(checked: CheckedTexts) -> Iterator[Leak]:
    """Find equal texts with different answers."""
    rows = contradicting(checked)
    if not rows.height:
        return
    first = rows.filter(pl.col("text") == rows["text"][0]).unique("answer", maintain_order=True, keep="first")[:2]
    answers = " and ".join(f"{shown(answer)} (row {row:,})" for row, _, answer in first.rows())
    share, n_texts = rows.height / len(checked), rows["text"].n_unique()
    sentence = (
        f"{rows.height:,} of {len(checked):,} rows ({share:.1%}) hold {counted(n_texts, 'text')} that "
        f"{'has' if n_texts == 1 else 'have'} different answers, such as {answers}: no model can be right on all of "
        "them; settle their labels."
    )
    severity: Severity = "warning" if share > _MANY_CONTRADICT else "note"
    yield Leak(severity, "contradicting-labels", sentence, {"n": rows.height, "n_texts": n_texts, "share": share})


def _copies(checked: CheckedTexts) -> Iterator[Leak]:
    """Find texts that judge and, but for case and punctuation, train as well."""
    if checked.part is None:
        return
    table = pl.DataFrame({"text": checked.folded, "part": checked.part}).drop_nulls("text")
    judged = table.filter(pl.col("part").is_in(["validation", "test"]))
    both = judged.join(table.filter(pl.col("part") == "train").select("text").unique(), on="text", how="semi")
    if not both.height:
        return
    share = both.height / judged.height
    sentence = (
        f"{both.height:,} of {judged.height:,} validation and test texts ({share:.1%}) stand among the training texts "
        "too, alike but for case, spaces and punctuation: the figures would flatter; leave one of each out, or give "
        "copies one entity (--entity), which keeps them on one side."
    )
    severity: Severity = "warning" if share > _MANY_CONTRADICT else "note"
    yield Leak(severity, "copies-on-both-sides", sentence, {"n": both.height, "n_judged": judged.height})


def _length(checked: CheckedTexts, case: Case) -> Iterator[Leak]:
    """Judge how long a text is."""
    lengths = checked.tokens.lengths.astype(float)
    decides = best([judge_number(lengths, truth, label) for label, truth in case.labels.items()])
    if decides is not None:
        sentence = decides.sentence("The length of a text") + " The classes may come from different places."
        yield Leak("warning", "deciding-length", sentence, decides.numbers())


def _words(checked: CheckedTexts, case: Case) -> list[Leak]:
    """Judge whether a text has a token, for every token that is frequent enough."""
    n, n_ids = len(checked), N_RESERVED + len(checked.vocabulary.values)
    row = np.repeat(np.arange(n), checked.tokens.lengths)
    pairs = np.unique(row * n_ids + checked.tokens.values)
    row, token = pairs // n_ids, pairs % n_ids
    n_with = np.bincount(token, minlength=n_ids)
    found: list[tuple[Decides, str]] = []
    for label, truth in case.labels.items():
        k_with, k = np.bincount(token[truth[row]], minlength=n_ids), int(truth.sum())
        if min(k, n - k) < MIN_CLASS:
            continue
        apart = np.abs(k_with / k - (n_with - k_with) / (n - k))
        for one in np.flatnonzero(0.5 + apart / 2 >= _DECIDES):
            decides = judge_having(int(n_with[one]), int(k_with[one]), n, k, label)
            if decides is not None and one >= N_RESERVED:
                found.append((decides, checked.vocabulary.values[one - N_RESERVED]))
    found.sort(key=lambda pair: (-pair[0].auc, pair[1]))
    severity: Severity = "warning" if len(case.labels) == 1 else "note"
    return [_word_leak(word, decides, severity) for decides, word in found[:_MOST_NAMED]]


def _word_leak(word: str, decides: Decides, severity: Severity) -> Leak:
    sentence = decides.sentence(f"The word {shown(word)} nearly decides the target")
    advice = " See whether it was written by whoever gave the labels."
    return Leak(severity, "deciding-word", sentence + advice, {"word": word, **decides.numbers()})


def _names_of_labels(checked: CheckedTexts) -> list[Leak]:
    """Judge whether texts hold the name of a class."""
    target, n = checked.target, len(checked)
    if target is None or checked.found.examples.frame[checked.found.examples.target or ""].dtype.is_nested():
        return []
    counts = target.drop_nulls().value_counts(sort=True)
    padded = " " + checked.folded.fill_null("").str.replace_all("\0", " ", literal=True) + " "
    found = []
    for value in counts.to_series(0).to_list()[:_MOST_CLASSES]:
        name = cleaned(pl.Series([value])).str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ").str.strip_chars()[0]
        if len(name) < _SHORTEST_NAME or not any(letter.isalpha() for letter in name):
            continue
        has, truth = padded.str.contains(f" {name} ", literal=True).to_numpy(), (target == value).to_numpy()
        asked = (int(has.sum()), int((has & truth).sum()), n, int(truth.sum()), "that class")
        decides = judge_having(*asked) or judge_related(*asked) if has.sum() >= MIN_CLASS else None
        if decides is not None and (decides.rate_with or 0) > (decides.rate_without or 0):
            found.append(_name_leak(value, decides))
    return sorted(found, key=lambda leak: -leak.numbers["auc"])[:_MOST_NAMED]


def _name_leak(value: str, decides: Decides) -> Leak:
    severity: Severity = "warning" if decides.auc >= _DECIDES else "note"
    sentence = decides.sentence(f"Texts hold the name of their class {shown(value)}")
    advice = " Take it out of the texts unless it is there when the model is asked."
    return Leak(severity, "label-in-text", sentence + advice, {"value": value, **decides.numbers()})
