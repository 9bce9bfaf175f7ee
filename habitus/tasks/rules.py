"""Rules of what may come next when histories are continued: nothing twice, no uninstall before an install.

A rule is written in item values, as a user knows them, and bound to a vocabulary. Then it turns a history of ids into a
mask over all ids. The rules here read `Past`, which is brought up to date item by item, and make the masks of a whole
batch at once; a rule of one's own need only look at one history. Knows nothing about scores, models or torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import polars as pl

from habitus.errors import ConfigError, DataError
from habitus.fields.category import MISSING, N_RESERVED, UNKNOWN, Vocabulary, as_category_strings

_MOST_COMPARED = 20_000  # values searched for the nearest name: the most frequent ones


class Past:
    """What has happened so far in each of B rows, kept up to date item by item instead of being read anew.

    Args:
        histories: ids of the whole history of each row, int (T,).
        size: number of ids, V, reserved ones included.

    >>> past = Past([np.array([3, 4]), np.array([], int)], size=6)
    >>> past.add(np.array([5, 3]))
    >>> past.last.tolist(), past.seen[:, 3:].tolist()
    ([5, 3], [[True, True, True], [True, False, False]])
    """

    def __init__(self, histories: Sequence[np.ndarray], size: int) -> None:
        self.size = size
        self.histories = [np.asarray(ids, dtype=np.int64) for ids in histories]
        self.last = np.array([ids[-1] if len(ids) else -1 for ids in self.histories], dtype=np.int64)  # -1: nothing yet
        self.seen = np.zeros((len(self), size), dtype=bool)  # (B, V)
        rows = np.repeat(np.arange(len(self)), [len(ids) for ids in self.histories])
        self._mark(rows, np.concatenate([*self.histories, np.zeros(0, np.int64)]))

    def __len__(self) -> int:
        return len(self.histories)

    def add(self, ids: np.ndarray) -> None:
        """Append one item to each row, ids int (B,)."""
        self.last = np.asarray(ids, dtype=np.int64)
        self._mark(np.arange(len(self)), self.last)
        self.histories = [np.append(old, new) for old, new in zip(self.histories, self.last, strict=True)]

    def _mark(self, rows: np.ndarray, ids: np.ndarray) -> None:
        if ids.size and not 0 <= ids.min() <= ids.max() < self.size:
            raise DataError(
                f"A history holds the ids {ids.min()} to {ids.max()} where there are {self.size}; "
                "encode it with the vocabulary of the model."
            )
        self.seen[rows, ids] = True


class Rule:
    """Say which items may come next. A rule of one's own overrides `allowed`, or for speed `allowed_rows`.

    >>> class AtMostTen(Rule):
    ...     def allowed(self, history_ids, size):
    ...         return np.full(size, len(history_ids) < 10)
    >>> AtMostTen().allowed_rows(Past([np.array([3, 4])], size=5)).all()
    np.True_
    """

    def bind(self, vocabulary: Vocabulary) -> Self:
        """Return the rule with its item values turned into ids.

        Raises:
            ConfigError: for a value that training did not know.
        """
        return self

    def allowed(self, history_ids: np.ndarray, size: int) -> np.ndarray:
        """Return a mask (V,) of what may follow one history, ids (T,)."""
        return self.allowed_rows(Past([history_ids], size))[0]

    def allowed_rows(self, past: Past) -> np.ndarray:
        """Return masks (B, V), or (1, V) when they are alike for all rows."""
        return np.stack([self.allowed(ids, past.size) for ids in past.histories])


@dataclass(frozen=True)
class Once(Rule):
    """Let an item that is in the history not come again: an app is not installed twice.

    Args:
        items: the items it holds for; None for all.
        ids: their ids; `bind` fills them in.

    >>> Once().allowed(np.array([3, 4]), size=6)[3:].tolist()
    [False, False, True]
    """

    items: Sequence[object] | None = None
    ids: tuple[int, ...] | None = None

    def bind(self, vocabulary: Vocabulary) -> Self:
        """Return the rule with ids."""
        return self if self.items is None else replace(self, ids=_ids_of(self.items, vocabulary))

    def allowed_rows(self, past: Past) -> np.ndarray:
        """Return masks (B, V)."""
        if self.items is None and self.ids is None:
            return ~past.seen
        mask, ids = np.ones_like(past.seen), _bound(self, self.ids, past.size)
        mask[:, ids] = ~past.seen[:, ids]
        return mask


@dataclass(frozen=True)
class Never(Rule):
    """Forbid items altogether.

    Args:
        items: item values.
        ids: their ids; `bind` fills them in.

    >>> Never(ids=(4,)).allowed(np.array([3]), size=6)[3:].tolist()
    [True, False, True]
    """

    items: Sequence[object] = ()
    ids: tuple[int, ...] | None = None

    def bind(self, vocabulary: Vocabulary) -> Self:
        """Return the rule with ids."""
        return replace(self, ids=_ids_of(self.items, vocabulary))

    def allowed_rows(self, past: Past) -> np.ndarray:
        """Return one mask for all rows, (1, V)."""
        mask = np.ones((1, past.size), dtype=bool)
        mask[:, _bound(self, self.ids, past.size)] = False
        return mask


@dataclass(frozen=True)
class Only(Rule):
    """Allow nothing but these items.

    Args:
        items: item values.
        ids: their ids; `bind` fills them in.

    >>> Only(ids=(4,)).allowed(np.array([3]), size=6)[3:].tolist()
    [False, True, False]
    """

    items: Sequence[object] = ()
    ids: tuple[int, ...] | None = None

    def bind(self, vocabulary: Vocabulary) -> Self:
        """Return the rule with ids."""
        return replace(self, ids=_ids_of(self.items, vocabulary))

    def allowed_rows(self, past: Past) -> np.ndarray:
        """Return one mask for all rows, (1, V)."""
        mask = np.zeros((1, past.size), dtype=bool)
        mask[:, _bound(self, self.ids, past.size)] = True
        return mask


@dataclass(frozen=True)
class After(Rule):
    """Let an item come only once another one has happened: no uninstall before an install.

    Args:
        item: the value that has to wait.
        required: the value that must be in the history.
        ids: ids of both; `bind` fills them in.

    >>> from habitus.fields.category import Category
    >>> vocabulary = Vocabulary.fit(Category(min_count=1), pl.Series(["install", "open", "uninstall"]))
    >>> rule = After("uninstall", "install").bind(vocabulary)
    >>> rule.ids, rule.allowed(np.array([4]), size=6)[3:].tolist(), rule.allowed(np.array([3]), size=6)[3:].tolist()
    ((5, 3), [True, True, False], [True, True, True])
    """

    item: object = None
    required: object = None
    ids: tuple[int, ...] | None = None

    def bind(self, vocabulary: Vocabulary) -> Self:
        """Return the rule with ids."""
        return replace(self, ids=_ids_of([self.item, self.required], vocabulary))

    def allowed_rows(self, past: Past) -> np.ndarray:
        """Return masks (B, V)."""
        item, required = _bound(self, self.ids, past.size)
        mask = np.ones_like(past.seen)
        mask[:, item] = past.seen[:, required]
        return mask


@dataclass(frozen=True)
class NoImmediateRepeat(Rule):
    """Let no item follow itself.

    >>> NoImmediateRepeat().allowed(np.array([3, 4]), size=6)[3:].tolist()
    [True, False, True]
    """

    def allowed_rows(self, past: Past) -> np.ndarray:
        """Return masks (B, V)."""
        mask, rows = np.ones_like(past.seen), np.flatnonzero(past.last >= 0)
        mask[rows, past.last[rows]] = False
        return mask


def allowed_ids(rules: Sequence[Rule], past: Past, *, no_repeat: bool = False) -> np.ndarray:
    """Return the masks (B, V) of what all rules allow; reserved ids never are.

    Raises:
        DataError: if nothing is left for a row.

    >>> allowed_ids([NoImmediateRepeat()], Past([np.array([3])], size=5)).tolist()
    [[False, False, False, False, True]]
    """
    rules = [*rules, Once()] if no_repeat else rules
    mask = np.ones_like(past.seen)
    mask[:, :N_RESERVED] = False
    for rule in rules:
        mask &= rule.allowed_rows(past)
    stuck = np.flatnonzero(~mask.any(axis=1))
    if stuck.size:
        row, names = stuck[0], ", ".join(type(rule).__name__ for rule in rules) or "none"
        raise DataError(
            f"The rules ({names}) allow none of the {past.size - N_RESERVED} items to follow the "
            f"{len(past.histories[row])} events of row {row}; loosen a rule, or end this history before."
        )
    return mask


def _ids_of(items: Sequence[object], vocabulary: Vocabulary) -> tuple[int, ...]:
    # one by one, because a list of 3 and "b" is no polars column
    values = [as_category_strings(pl.Series([item]))[0] for item in ([items] if isinstance(items, str) else items)]
    ids = vocabulary.encode(pl.Series(values, dtype=pl.String))
    for value, number in zip(values, ids, strict=True):
        if number in (UNKNOWN, MISSING):
            raise ConfigError(_unknown(value, vocabulary))
    return tuple(ids.tolist())


def _unknown(value: str | None, vocabulary: Vocabulary) -> str:
    near = difflib.get_close_matches(value or "", vocabulary.values[:_MOST_COMPARED], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the most frequent ones are {vocabulary.values[:5]}."
    return (
        f"A rule names the item {value!r}, which is none of the {len(vocabulary.values)} that training kept "
        f"(those seen at least {vocabulary.spec.min_count} times); {hint}"
    )


def _bound(rule: Rule, ids: tuple[int, ...] | None, size: int) -> list[int]:
    if ids is None:
        raise ConfigError(f"The rule {type(rule).__name__} holds item values; turn them into ids by bind(vocabulary).")
    if ids and not N_RESERVED <= min(ids) <= max(ids) < size:
        raise ConfigError(
            f"The rule {type(rule).__name__} holds ids from {min(ids)} to {max(ids)}; "
            f"those of items are {N_RESERVED} to {size - 1}; bind it to the vocabulary of the model."
        )
    return list(ids)
