"""The leak check: does the data give the target away, or would it, if a cutoff were set a little late?

    find_leaks = cutoffs (where they lie) + after (what occurs only after them) + deciding (what decides alone)
                 + names (profile fields that sound like answers) + sides (entities on both sides of a split)

A check finds what it looks for; silence is no proof. Out of core: the log is only scanned, the examples are held.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from habitus.audit.after import find_after
from habitus.audit.case import Case, open_case
from habitus.audit.cutoffs import find_cutoffs
from habitus.audit.deciding import find_deciding
from habitus.audit.leak import Leak, counted
from habitus.data.events import EventLog
from habitus.data.examples import Examples
from habitus.errors import DataError

_ANSWERS = re.compile(
    r"(^|_)(y|y_true|true|truth|target|outcome|proba?|probability|logit|pred|predicted|predictions?|leak|leakage)(_|$)"
)
_DOUBTFUL = re.compile(r"(^|_)(labels?|scores?|split|fold|result|after|future|next)(_|$)")


def find_leaks(log: EventLog, examples: Examples, part: np.ndarray | None = None) -> list[Leak]:
    """Look for what gives the target away; warnings come first.

    Args:
        log: the events, after the cutoffs too.
        examples: who, when, and (if there is one) the target.
        part: "train", "validation", "test" or "left-out" of each example, (n,); None leaves the split unchecked.

    >>> from habitus.data.events import read_events
    >>> from habitus.data.examples import read_examples
    >>> log = read_events(pl.DataFrame({"user_id": [7], "timestamp": ["2024-01-31T10:00Z"], "item": ["tea"]}))
    >>> table = pl.DataFrame({"user_id": [7], "cutoff": ["2024-01-31T10:00Z"], "risk": [1], "true_probability": [0.9]})
    >>> [leak.kind for leak in find_leaks(log, read_examples(table, log, target="risk")[0])]
    ['empty-history', 'suspicious-name', 'at-cutoff']
    """
    if part is not None and len(part) != examples.frame.height:
        raise DataError(f"part names {len(part)} examples, but there are {examples.frame.height}; give one for each.")
    case = open_case(log, examples)
    found = [*find_deciding(case), *find_cutoffs(case), *named_like_answers(case, examples.target), *find_after(case)]
    if part is not None:
        found += both_sides(case, np.asarray(part))
    return sorted(found, key=lambda leak: leak.severity != "warning")


def named_like_answers(case: Case, target: str | None) -> list[Leak]:
    """Find profile fields that sound like an answer."""
    found = []
    for name in case.schema.profile:
        plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
        is_answer = bool(_ANSWERS.search(plain))
        if not (is_answer or _DOUBTFUL.search(plain) or (target and target.lower() in name.lower())):
            continue
        sentence = (
            f"The profile field '{name}' sounds like an answer, a score or a split. It is read: leave it out (--drop "
            f"{name}) unless it is known at the cutoff."
        )
        found.append(Leak("warning" if is_answer else "note", "suspicious-name", sentence, {"field": name}))
    return found


def both_sides(case: Case, part: np.ndarray) -> list[Leak]:
    """Find entities that train and judge."""
    schema = case.schema
    table = case.examples.select(schema.entity, schema.cutoff).with_columns(pl.Series("_side", part))
    trained = table.filter(pl.col("_side") == "train")
    judged = table.filter(pl.col("_side").is_in(["validation", "test"]))
    both = judged.join(trained.select(schema.entity).unique(), on=schema.entity, how="semi")
    if not both.height:
        return []
    entities = counted(both[schema.entity].n_unique(), "entity", "entities")
    numbers = {"n": both.height, "n_judged": judged.height, "n_entities": both[schema.entity].n_unique()}
    first, last = judged[schema.cutoff].min(), trained[schema.cutoff].max()
    if first is not None and last is not None and first >= last:  # type: ignore[operator]
        sentence = (
            f"{both.height:,} of {judged.height:,} validation and test examples are of entities that also train, at "
            f"earlier cutoffs ({entities}): the figures hold for known entities; --split new-entities judges new ones."
        )
        return [Leak("note", "both-sides", sentence, numbers)]
    sentence = (
        f"{both.height:,} of {judged.height:,} validation and test examples are of entities that also train "
        f"({entities}), and not only at earlier cutoffs: split by entity (--split entity)."
    )
    return [Leak("warning", "both-sides", sentence, numbers)]
