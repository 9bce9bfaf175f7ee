"""A text inside an event (the title of an item, a search query, the description of a payment) as a few token ids.

    title "The Lion King (1994)"  ->  title 17, title ·2 402, title ·3 88, ...      PAD behind the last token

The first tokens of each event's text become ids under the field's own name and numbered names beside it, so that all
that reads ids reads them; the embedding shares one table among them and takes their mean (`backbones/embed.py`). Every
distinct text is cut once, and texts that training never saw are made of the same tokens. A missing text is MISSING.

Where the tokenizer is that of a pretrained encoder, the same ids are what the encoder reads, special tokens included:
the network reads its vector of the text (`backbones/pretrained/frozen.py`), and the counting rivals its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from habitus.data.text.pretrained import described
from habitus.data.text.tokens import TextVocabulary
from habitus.errors import ConfigError
from habitus.fields.category import MISSING, N_RESERVED, PAD, as_category_strings
from habitus.fields.text import Text

_MARK = " ·"


@dataclass
class EventText(TextVocabulary):
    """The tokens of a `Text` field of events; arguments as of `TextVocabulary`.

    Args:
        base: the pretrained encoder that reads the text: its configuration and the hash of its weights; None: tokens
            have embeddings of the network's own.

    >>> titles = EventText.learn(Text(min_count=1, most=2), pl.Series(["The Lion King", "The King"]), np.array([3, 1]))
    >>> titles.values, titles.encode(pl.Series(["King of the Hill", None])).tolist()
    (['king', 'the', 'lion'], [[3, 1], [2, 0]])
    """

    base: Mapping[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def fit(cls, spec: Text, values: pl.Series | Iterable[pl.Series]) -> EventText:  # type: ignore[override]
        """Learn from the texts of training events, String (E,) or chunks of it."""
        chunks = [values] if isinstance(values, pl.Series) else list(values)
        texts = pl.concat([as_category_strings(chunk).alias("text") for chunk in chunks]).drop_nulls()
        counted = texts.value_counts(sort=True, name="n")
        return cls.learn(spec, counted["text"], counted["n"].to_numpy())

    @classmethod
    def learn(cls, spec: Text, texts: pl.Series, counts: np.ndarray) -> EventText:
        """Learn from distinct texts and how often each was seen."""
        if spec.is_pretrained:
            return cls._of_pretrained(spec, texts)
        if spec.tokenizer == "subwords":
            learned = TextVocabulary.fit(spec, texts)
            return cls(spec, learned.values, learned.counts, learned.document)
        every = TextVocabulary.fit(Text(spec.tokenizer, 2**31, 1, spec.lower, spec.clean), texts)
        ids = every.encode_texts(texts)
        total = np.bincount(ids.values, np.repeat(counts, ids.lengths), minlength=every.size)[N_RESERVED:]
        order = np.argsort(-total, kind="stable")
        kept = order[total[order] >= spec.min_count][: spec.vocabulary_size]
        return cls(spec, [every.values[i] for i in kept], total[kept].astype(int).tolist())

    @classmethod
    def _of_pretrained(cls, spec: Text, texts: pl.Series) -> EventText:
        if Path(spec.tokenizer).is_dir():  # to be found again from any folder
            spec = replace(spec, tokenizer=str(Path(spec.tokenizer).absolute()))
        learned = TextVocabulary.fit(spec, texts)
        found = cls(spec, learned.values, learned.counts, learned.document, described(spec.tokenizer))
        if spec.n_tokens <= (bare := found._n_specials):
            raise ConfigError(
                f"most={spec.n_tokens} leaves no room for a text beside the {bare} special tokens of "
                f"'{spec.tokenizer}'; use {bare + 1} or more, such as 24."
            )
        return found

    @property
    def _n_specials(self) -> int:
        """Tokens that stand around every text."""
        before, behind = ((), ()) if self.pretrained is None else self.pretrained.specials
        return max(1, len(before) + len(behind))  # one token at least, so that there are pieces

    def encode(self, values: pl.Series) -> np.ndarray:
        """Return ids of the first tokens of each text, int32 (E, K)."""
        texts = as_category_strings(values).rename("text")
        distinct = texts.unique(maintain_order=True)
        ids = self.encode_texts(distinct.fill_null(""), self.spec.n_tokens)
        table = np.full((len(distinct), self.spec.n_tokens), PAD, dtype=np.int32)
        row = np.repeat(np.arange(len(distinct)), ids.lengths)
        table[row, np.arange(len(row)) - np.repeat(ids.offsets[:-1], ids.lengths)] = ids.values
        is_empty = ids.lengths == 0 if self.base is None else ids.lengths <= self._n_specials
        table[is_empty] = np.where(np.arange(self.spec.n_tokens) == 0, MISSING, PAD)
        place = pl.DataFrame({"text": distinct}).with_row_index("_place")
        found = texts.to_frame().join(place, on="text", how="left", maintain_order="left", nulls_equal=True)["_place"]
        return np.asarray(table[found.to_numpy().astype(np.int64)])

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        own = {"kind": "text of events"} if self.base is None else {"kind": "text of events", "base": self.base}
        return super().to_json() | own

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EventText:
        """Build from `to_json` data."""
        plain = super().from_json(data)
        assert isinstance(plain, cls), type(plain)
        plain.base = data.get("base")
        return plain

    def piece_names(self, name: str) -> list[str]:
        """Return the names under which the tokens of a field stand, the field's own first."""
        return [name, *(f"{name}{_MARK}{number}" for number in range(2, self.spec.n_tokens + 1))]


def field_of(piece: str) -> str:
    """Return the field that a name of ids belongs to.

    >>> field_of("title ·2"), field_of("title")
    ('title', 'title')
    """
    stem, mark, number = piece.rpartition(_MARK)
    return stem if mark and number.isdigit() else piece


def pieces_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of the tokens of each field that is a text, in order.

    >>> pieces_of(["item", "title", "title ·2"])
    {'title': ['title', 'title ·2']}
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(field_of(name), []).append(name)
    return {stem: own for stem, own in found.items() if len(own) > 1}


def encoded_fields(fields: Mapping[str, Any], column: Callable[[str], pl.Series]) -> dict[str, np.ndarray]:
    """Return the arrays of every field, those of a text one a token.

    Args:
        fields: fitted, by name.
        column: gives the values of a field, by its name.
    """
    found: dict[str, np.ndarray] = {}
    for name, fitted in fields.items():
        values = fitted.encode(column(name))
        if isinstance(fitted, EventText):
            found |= {one: np.ascontiguousarray(values[:, i]) for i, one in enumerate(fitted.piece_names(name))}
        else:
            found[name] = values
    return found
