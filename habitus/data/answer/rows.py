"""Questions as tokens: what a model and its rivals read of a table of questions.

AnswerEncoder   the tokenizer, learned from training texts or taken from a pretrained encoder
AnswerRows      tokens of questions and passages, with the characters of each token of a passage
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl

from habitus.data.answer.table import Gold
from habitus.data.pairs.ragged import Ragged
from habitus.data.slices import offsets_of
from habitus.data.text.tokens import TextVocabulary, token_lists
from habitus.fields.category import MISSING, N_RESERVED
from habitus.fields.text import Text

TEXT, SIDE, MAY_ANSWER = "text", "side", "may answer"
QUESTION, PASSAGE, SHARED = 0, 1, 2  # sides: a token of the question, of the passage, of the passage and the question
NONE, LOST = -1, -2  # in place of a token: there is no answer; the answer has no token of its own


@dataclass(frozen=True)
class AnswerRows:
    """Questions with their passages and answers, as tokens.

    Args:
        questions, contexts: as they are written, String (n,).
        golds: the answers of each, with the characters at which they begin; empty where there is none.
        question_ids: of each question.
        context_ids: of each passage.
        start, stop: the first character of each token of the passages, and the one behind its last.
        shared: 1 where a token of a passage stands in its question too, uint8.
        gold: int64 (n, 2), the first and the last token of the first answer, or `NONE`, or `LOST`.
    """

    questions: pl.Series
    contexts: pl.Series
    golds: tuple[Gold, ...]
    question_ids: Ragged
    context_ids: Ragged
    start: Ragged
    stop: Ragged
    shared: Ragged
    gold: np.ndarray

    def __len__(self) -> int:
        return len(self.questions)

    def take(self, rows: np.ndarray) -> Self:
        """Return the given questions in the given order."""
        names = ("question_ids", "context_ids", "start", "stop", "shared")
        return replace(
            self,
            questions=self.questions[rows],
            contexts=self.contexts[rows],
            golds=tuple(self.golds[row] for row in rows.tolist()),
            gold=self.gold[rows],
            **{name: getattr(self, name).take(rows) for name in names},
        )

    def arrays(self) -> Iterable[np.ndarray]:
        """Return everything that a fingerprint must cover."""
        told = "\0".join("\1".join(f"{text}\2{place}" for text, place in gold) for gold in self.golds).encode()
        ids = (self.question_ids, self.context_ids)
        return [*(one.values for one in ids), *(one.offsets for one in ids), np.frombuffer(told, np.uint8), self.gold]


@dataclass(frozen=True)
class AnswerEncoder:
    """How questions and passages become tokens.

    Args:
        vocabulary: the tokens.

    >>> encoder = AnswerEncoder.learn(Text(min_count=1, clean=False), pl.Series(["Who won?", "Ann won."]))
    >>> rows = encoder.encode(pl.Series(["Who won?"]), pl.Series(["Ann won."]), [(("Ann", 0),)])
    >>> rows.start.lists(), rows.shared.lists(), rows.gold.tolist()
    ([[0, 4, 7]], [[0, 1, 0]], [[0, 0]])
    """

    vocabulary: TextVocabulary

    @classmethod
    def learn(cls, spec: Text, texts: pl.Series) -> AnswerEncoder:
        """Learn tokens from training texts, or take those of a pretrained encoder."""
        return cls(TextVocabulary.fit(spec, texts.unique(maintain_order=True)))

    @property
    def is_pretrained(self) -> bool:
        """Whether the tokens are those of a pretrained encoder."""
        return self.vocabulary.pretrained is not None

    @property
    def sizes(self) -> dict[str, int]:
        """Ids of the fields that a network from scratch reads."""
        return {TEXT: self.vocabulary.size, SIDE: N_RESERVED + 3}

    @property
    def around(self) -> tuple[tuple[list[int], ...], tuple[int, int]]:
        """Ids before, between and behind a question and its passage, and the types of the two."""
        known = self.vocabulary.pretrained
        return (([MISSING], [MISSING], []), (QUESTION, PASSAGE)) if known is None else known.around_pairs

    def encode(self, questions: pl.Series, contexts: pl.Series, golds: Sequence[Gold]) -> AnswerRows:
        """Return questions and passages as tokens; equal passages are cut once."""
        distinct, place = _distinct(contexts)
        asked, read = self._cut(questions), self._cut(distinct)
        context_ids, start, stop = (one.take(place) for one in (read.ids, read.start, read.stop))
        if self.is_pretrained:
            shared = Ragged(np.zeros(len(context_ids.values), np.uint8), context_ids.offsets)
        else:
            shared = _shared(asked.words, [read.words[one] for one in place.tolist()], context_ids.offsets)
        gold = _gold_tokens(golds, start, stop)
        return AnswerRows(questions, contexts, tuple(golds), asked.ids, context_ids, start, stop, shared, gold)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {"vocabulary": self.vocabulary.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AnswerEncoder:
        """Build from `to_json` data."""
        return cls(TextVocabulary.from_json(data["vocabulary"]))

    def _cut(self, texts: pl.Series) -> _Cut:
        known = self.vocabulary.pretrained
        if known is not None:
            ids, start, stop = known.located(texts.to_list())
            return _Cut(ids, Ragged(start, ids.offsets), Ragged(stop, ids.offsets), [])
        return _cut_words(self.vocabulary, texts)


@dataclass(frozen=True)
class _Cut:
    """Tokens of texts: ids, places, and the tokens as they are looked up (none of a pretrained encoder)."""

    ids: Ragged
    start: Ragged
    stop: Ragged
    words: list[list[str]]


def _cut_words(vocabulary: TextVocabulary, texts: pl.Series) -> _Cut:
    """Cut texts as the vocabulary does, and find every token in its text: between two of them stand spaces alone."""
    spec = vocabulary.spec
    found = [one for some in token_lists(texts, replace(spec, lower=False)) for one in some.to_list()]
    offsets = offsets_of(np.array([len(one) for one in found], dtype=np.int64))
    starts = [place for text, tokens in zip(texts.to_list(), found, strict=True) for place in _places(text, tokens)]
    flat = pl.Series([token for tokens in found for token in tokens], dtype=pl.String)
    start = np.array(starts, dtype=np.int32)
    stop = start + flat.str.len_chars().to_numpy().astype(np.int32)
    flat = flat.str.to_lowercase() if spec.lower else flat
    words = flat.to_list()
    lists = [words[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    return _Cut(Ragged(vocabulary.look_up(flat), offsets), Ragged(start, offsets), Ragged(stop, offsets), lists)


def _places(text: str, tokens: Sequence[str]) -> list[int]:
    """Return the character at which each token begins.

    >>> _places("a  b a", ["a", "b", "a"])
    [0, 3, 5]
    """
    places, at = [], 0
    for token in tokens:
        at = text.index(token, at)
        places.append(at)
        at += len(token)
    return places


def _shared(asked: Sequence[Sequence[str]], read: Sequence[Sequence[str]], offsets: np.ndarray) -> Ragged:
    """Say which tokens of passages stand in their question (Chen et al. 2017, arXiv:1704.00051, section 3.2)."""
    flags: list[bool] = []
    for question, passage in zip(asked, read, strict=True):
        known = set(question)
        flags += [token in known for token in passage]
    return Ragged(np.array(flags, dtype=np.uint8), offsets)


def _gold_tokens(golds: Sequence[Gold], start: Ragged, stop: Ragged) -> np.ndarray:
    """Return the first and the last token that the first answer of each touches, int64 (n, 2)."""
    found = np.full((len(golds), 2), NONE, dtype=np.int64)
    for row, gold in enumerate(golds):
        if not gold:
            continue
        (text, place), span = gold[0], slice(start.offsets[row], start.offsets[row + 1])
        begins, ends = start.values[span], stop.values[span]
        touched = np.flatnonzero((ends > place) & (begins < place + len(text)) & (ends > begins))
        found[row] = (touched[0], touched[-1]) if len(touched) else LOST
    return found


def _distinct(texts: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Return the different texts, and where each text stands among them, int64 (n,)."""
    distinct = texts.unique(maintain_order=True)
    number = {text: place for place, text in enumerate(distinct.to_list())}
    return distinct, np.array([number[text] for text in texts.to_list()], dtype=np.int64)
