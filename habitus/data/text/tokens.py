"""Texts as token ids: the fitted side of a `Text` field.

Words and characters are found by one regular expression in Polars, subwords by the library `tokenizers`, Chinese words
by rjieba. Ids are those of a `Category`: PAD, UNKNOWN and MISSING are reserved, the most frequent token follows, so
that every network and every counting rival reads tokens as it reads events. Nothing is learned from anything but the
texts that `fit` is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from habitus.data.pairs.ragged import Ragged
from habitus.data.pairs.subwords import N_SPECIAL, Subwords
from habitus.data.slices import offsets_of
from habitus.data.text.clean import cleaned
from habitus.data.text.pretrained import tokenizer_document
from habitus.data.text.pretrained_tokens import PretrainedTokens
from habitus.errors import require
from habitus.fields.category import N_RESERVED, UNKNOWN, Category, Vocabulary
from habitus.fields.text import Text

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_PATTERNS = {
    "words": rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+(?:['’]\p{{L}}+)*|[^\s]",
    "subwords": r"[\p{L}\p{M}\p{N}]+(?:['’]\p{L}+)*|[^\s]",  # what is then cut further, scripts without spaces too
    "characters": r"\S",
}
_TEXTS_AT_ONCE = 8192


@dataclass
class TextVocabulary(Vocabulary):
    """The tokens of a `Text`, and texts to ids and back.

    Args:
        spec: how texts are read.
        values: tokens in id order, from id 3.
        counts: how often each was seen in training, the same order.
        document: of subwords or a pretrained tokenizer, as the library `tokenizers` writes it.

    >>> vocabulary = TextVocabulary.fit(Text(min_count=1), pl.Series(["To be, or not", "to be?"]))
    >>> vocabulary.values[:2], vocabulary.encode_texts(pl.Series(["Be &amp; be", None])).lists()
    (['be', 'to'], [[3, 1, 3], []])
    """

    spec: Text  # type: ignore[assignment]
    values: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    document: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self._subwords = self._pretrained = None
        if self.document is not None and self.spec.is_pretrained:
            self._pretrained = PretrainedTokens(self.document)
            self.values = self.values or self._pretrained.names
        elif self.document is not None:
            self._subwords = Subwords("bpe", self.document)

    @property
    def size(self) -> int:
        """Number of ids, reserved ones included."""
        return N_RESERVED + len(self.values)

    @property
    def pretrained(self) -> PretrainedTokens | None:
        """The tokenizer of a pretrained encoder, whose ids are those of the vocabulary less `N_RESERVED`."""
        return self._pretrained

    @classmethod
    def fit(cls, spec: Text, values: Any) -> TextVocabulary:  # type: ignore[override]
        """Learn tokens from training texts, String (n,)."""
        if spec.is_pretrained:
            return cls._take_pretrained(spec, values)
        if spec.tokenizer == "subwords":
            return cls._fit_subwords(spec, values)
        counted = Vocabulary.fit(
            Category(min_count=spec.min_count, max_size=spec.vocabulary_size),
            (tokens.explode() for tokens in token_lists(values, spec)),
        )
        return cls(spec, counted.values, counted.counts)

    @classmethod
    def _fit_subwords(cls, spec: Text, texts: pl.Series) -> TextVocabulary:
        spaced = [text for words in token_lists(texts, spec) for text in words.list.join(" ").to_list()]
        learned = Subwords.learn(spaced, "bpe", spec.vocabulary_size)
        vocabulary = cls(spec, learned.pieces(range(N_SPECIAL, learned.size)), [], learned.document)
        counts = np.bincount(vocabulary.encode_texts(texts).values, minlength=vocabulary.size)[N_RESERVED:]
        return replace(vocabulary, counts=counts.tolist())

    @classmethod
    def _take_pretrained(cls, spec: Text, texts: pl.Series) -> TextVocabulary:
        vocabulary = cls(spec, [], [], tokenizer_document(spec.tokenizer))
        counts = np.bincount(vocabulary.encode_texts(texts).values, minlength=vocabulary.size)[N_RESERVED:]
        return replace(vocabulary, counts=counts.tolist())

    def encode_texts(self, texts: pl.Series, most: int | None = None) -> Ragged:
        """Return the ids of every text; `most` keeps the first ones of each and leaves the rest unread."""
        return self.encode_counted(texts, most)[0]

    def encode_counted(self, texts: pl.Series, most: int | None = None) -> tuple[Ragged, np.ndarray]:
        """Return the ids of every text, at most `most` of each, and how many tokens each has, int64 (n,)."""
        ids, lengths, before = [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for found, counts in self._encoded(texts, most):
            ids.append(found)
            before.append(counts)
            lengths.append(counts if most is None else np.minimum(counts, most))
        values = np.concatenate(ids) if ids else np.zeros(0, np.int32)
        return Ragged(values, offsets_of(np.concatenate(lengths))), np.concatenate(before)

    def tokens(self, text: str) -> list[str]:
        """Return the tokens of one text as they are looked up, for people."""
        if self.document is not None:
            found = self.encode_texts(pl.Series([text])).values
            return [self.values[i - N_RESERVED] for i in found]
        (tokens,) = token_lists(pl.Series([text]), self.spec)
        return cast("list[str]", tokens.to_list()[0])

    def look_up(self, tokens: pl.Series) -> np.ndarray:
        """Return the ids of tokens, String (E,), as int32 (E,)."""
        known = pa.array(self.values, type=pa.large_string())
        place = pc.index_in(tokens.to_arrow(), value_set=known).fill_null(-1).to_numpy(zero_copy_only=False)
        return np.where(place < 0, UNKNOWN, place + N_RESERVED).astype(np.int32)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        values = self.values if self._pretrained is None else []  # the document has them
        plain = {"kind": "text", "spec": asdict(self.spec), "values": values, "counts": self.counts}
        return plain if self.document is None else plain | {"document": self.document}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TextVocabulary:
        """Build from `to_json` data."""
        return cls(Text(**data["spec"]), list(data["values"]), list(data["counts"]), data.get("document"))

    def _encoded(self, texts: pl.Series, most: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (ids, tokens of each text before any cut) of some texts after others."""
        if self._pretrained is not None:
            yield from self._pretrained.encoded(texts, most, clean=self.spec.clean)
            return
        for tokens in token_lists(texts, self.spec):
            if self._subwords is not None:
                yield _cut(*_by_word(tokens, self._subwords), most)
                continue
            read = tokens if most is None else tokens.list.head(most)
            read = read.filter(read.list.len() > 0).explode()
            yield self.look_up(read), tokens.list.len().to_numpy().astype(np.int64)


def _by_word(words: pl.Series, subwords: Subwords) -> tuple[Ragged, np.ndarray]:
    """Return the subword ids of every word, and how many words each text has: distinct words are cut once."""
    n_words = words.list.len().to_numpy().astype(np.int64)
    distinct = words.filter(n_words > 0).explode().to_arrow().dictionary_encode()
    known = subwords.encode(cast("pl.Series", pl.from_arrow(distinct.dictionary)))
    ids = known.take(distinct.indices.to_numpy(zero_copy_only=False))
    return Ragged((ids.values - N_SPECIAL + N_RESERVED).astype(np.int32), ids.offsets), n_words


def _cut(ids: Ragged, n_words: np.ndarray, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of texts, at most `most` of each, and how many each text has."""
    texts = Ragged(ids.values, ids.offsets[offsets_of(n_words)])
    return (texts if most is None else texts.first(most)).values, texts.lengths


def token_lists(texts: pl.Series, spec: Text) -> Iterator[pl.Series]:
    """Yield the tokens of some texts after others, List of String; "words", "characters" and "chinese" alone.

    >>> [found.to_list() for found in token_lists(pl.Series(["Not so!"]), Text())]
    [[['not', 'so', '!']]]
    """
    for some in texts.rechunk().to_frame().iter_slices(_TEXTS_AT_ONCE):
        clean = cleaned(some.to_series(), clean=spec.clean, lower=spec.lower)
        if spec.tokenizer == "chinese":
            cut = require("rjieba", "text").cut
            found = pl.Series([[t for t in cut(text) if not t.isspace()] for text in clean.to_list()])
            yield found.cast(pl.List(pl.String))
        else:
            yield clean.str.extract_all(_PATTERNS[spec.tokenizer])
