"""Texts and token lists as ids and back: subwords, whitespace words, characters, and lists as they are.

Subwords are learned by the library `tokenizers`: byte pairs (Sennrich et al. 2016, arXiv:1508.07909) or a unigram
model (Kudo 2018, arXiv:1804.10959), both with byte fallback (Kudo and Richardson 2018, arXiv:1808.06226): a character
that training never saw is spelled in UTF-8 bytes, so that every text comes back as it was, spaces included. That needs
no word boundaries, which Japanese and Chinese do not write. A vocabulary is JSON; nothing is learned from anything but
the texts that are handed in.

Differs from SentencePiece: no Unicode normalisation, and a space stays a space inside a subword.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from habitus.data.pairs.ragged import Ragged
from habitus.data.slices import offsets_of
from habitus.errors import ConfigError, DataError, require

PAD, UNKNOWN, START, END = SPECIAL = range(4)  # ids; the first three are never an answer
N_SPECIAL = len(SPECIAL)
TokenKind = Literal["bpe", "unigram", "words", "characters", "list"]
LEAST_SUBWORDS = 512  # reserved ids, bytes and ASCII take 4 + 256 + 95

_ASCII = [chr(code) for code in range(32, 127)]
_SPACED = r" ?[^ ]+| +"  # a word with the space before it; more spaces by themselves
_NEVER = -1000.0  # log probability of a byte as a unigram: only where nothing else fits
_NO_PIECE = "\ue000"  # unigrams must name an unknown piece; with all bytes there none is ever unknown


class Tokens(ABC):
    """A learned vocabulary: texts or lists of tokens to ids and back.

    `encode` never gives PAD, START or END; `decode` leaves them out.
    """

    kind: ClassVar[str]
    size: int  # number of ids, V, the special ones included

    @abstractmethod
    def encode(self, units: pl.Series) -> Ragged:
        """Return ids of texts (String), or of token lists (List of String)."""

    @abstractmethod
    def decode(self, ids: Ragged) -> list[Any]:
        """Return texts, or token lists."""

    @abstractmethod
    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the name of each id, for people."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return plain data."""


class Subwords(Tokens):
    """Subwords of the library `tokenizers`, shifted behind the special ids.

    Args:
        kind: "bpe" or "unigram".
        document: the tokenizer as the library writes it.
    """

    def __init__(self, kind: Literal["bpe", "unigram"], document: Mapping[str, Any]) -> None:
        self.kind, self.document = kind, document  # type: ignore[misc]
        library = require("tokenizers", "text")
        try:
            self._tokenizer = library.Tokenizer.from_str(json.dumps(document))
        except Exception as error:  # the library raises nothing narrower
            raise DataError(f"The vocabulary cannot be read as a tokenizer ({error}); learn it again.") from error
        self.size = N_SPECIAL + self._tokenizer.get_vocab_size()

    @classmethod
    def learn(cls, texts: Sequence[str], kind: Literal["bpe", "unigram"], size: int) -> Subwords:
        """Learn at most `size` ids from texts.

        Raises:
            ConfigError: if the size leaves no room for subwords.
        """
        if size < LEAST_SUBWORDS:
            raise ConfigError(
                f"vocabulary_size={size} leaves no room for subwords beside bytes and ASCII; use {LEAST_SUBWORDS} or "
                "more, or tokens='characters'."
            )
        room = size - N_SPECIAL - 256 - (kind == "unigram")
        return cls(kind, _with_bytes(_trained(texts, kind, room)))

    def encode(self, units: pl.Series) -> Ragged:
        """Return ids of texts."""
        found = [one.ids for one in self._tokenizer.encode_batch_fast([" " + text for text in units.to_list()])]
        ids = Ragged.of(found)
        return Ragged(ids.values + N_SPECIAL, ids.offsets)

    def decode(self, ids: Ragged) -> list[str]:
        """Return texts."""
        own = [[one - N_SPECIAL for one in row if one >= N_SPECIAL] for row in ids.lists()]
        return [text.removeprefix(" ") for text in self._tokenizer.decode_batch(own, skip_special_tokens=False)]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the name of each id; a space is shown as an underscore."""
        return [
            _special_name(one) if one < N_SPECIAL else self._tokenizer.id_to_token(one - N_SPECIAL).replace(" ", "▁")
            for one in ids
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"kind": self.kind, "tokenizer": self.document}


class Whole(Tokens):
    """Whitespace words, characters or given tokens, the most frequent ones; others are UNKNOWN.

    Args:
        kind: "words", "characters" or "list".
        values: by id, from N_SPECIAL on.

    >>> words = Whole.learn(pl.Series(["to be or", "to do"]), "words", 100)
    >>> words.encode(pl.Series(["to bee"])).values.tolist(), words.values[0]
    ([4, 1], 'to')
    """

    def __init__(self, kind: Literal["words", "characters", "list"], values: Sequence[str]) -> None:
        self.kind, self.values = kind, list(values)  # type: ignore[misc]
        self.size = N_SPECIAL + len(self.values)
        self._names = np.array([*(_special_name(one) for one in SPECIAL), *self.values], dtype=object)
        self._table = pl.DataFrame(
            {"token": pl.Series(self.values, dtype=pl.String), "id": np.arange(N_SPECIAL, self.size, dtype=np.int32)}
        )

    @classmethod
    def learn(cls, units: pl.Series, kind: Literal["words", "characters", "list"], size: int) -> Whole:
        """Learn the most frequent tokens, at most `size` ids; of equal ones the first in order."""
        tokens, _ = _split(units, kind)
        counted = tokens.rename("token").value_counts().sort(["count", "token"], descending=[True, False])
        return cls(kind, counted["token"].head(max(size - N_SPECIAL, 1)).to_list())

    def encode(self, units: pl.Series) -> Ragged:
        """Return ids of texts, or of token lists."""
        tokens, lengths = _split(units, self.kind)
        found = tokens.rename("token").to_frame().join(self._table, on="token", how="left", maintain_order="left")["id"]
        return Ragged(found.fill_null(UNKNOWN).to_numpy().astype(np.int32), offsets_of(lengths))

    def decode(self, ids: Ragged) -> list[Any]:
        """Return texts, or token lists."""
        rows = [self.pieces([one for one in row if one not in (PAD, START, END)]) for row in ids.lists()]
        joined = {"words": " ", "characters": ""}.get(self.kind)
        return rows if joined is None else [joined.join(row) for row in rows]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the name of each id."""
        return list(self._names[np.asarray(ids, dtype=np.int64)])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"kind": self.kind, "values": self.values}


def learn_tokens(units: pl.Series, kind: TokenKind, size: int) -> Tokens:
    """Learn a vocabulary of a kind from texts, or from token lists."""
    if kind == "bpe" or kind == "unigram":
        return Subwords.learn(units.to_list(), kind, size)
    return Whole.learn(units, kind, size)


def tokens_from_json(data: Mapping[str, Any]) -> Tokens:
    """Build from `to_json` data."""
    return Subwords(data["kind"], data["tokenizer"]) if "tokenizer" in data else Whole(data["kind"], data["values"])


def _split(units: pl.Series, kind: str) -> tuple[pl.Series, np.ndarray]:
    """Return the tokens of all units, one after the other, and how many each has."""
    if kind == "characters":
        units = units.str.split("")
    elif kind == "words":
        units = units.str.strip_chars().str.replace_all(r"\s+", " ").str.split(" ")
    lengths = units.list.len().to_numpy().astype(np.int64)
    return units.filter(units.list.len() > 0).explode().cast(pl.String), lengths


def _special_name(special: int) -> str:
    return ("<pad>", "<unknown>", "<start>", "<end>")[special]


def _trained(texts: Sequence[str], kind: str, size: int) -> dict[str, Any]:
    """Return the tokenizer that the library learns, as plain data."""
    library = require("tokenizers", "text")
    options = {"vocab_size": size, "special_tokens": [], "initial_alphabet": _ASCII, "show_progress": False}
    if kind == "bpe":
        tokenizer = library.Tokenizer(library.models.BPE())
        # at most half are single characters: rare ones are spelled in bytes, and there is room for what is frequent
        trainer = library.trainers.BpeTrainer(min_frequency=2, limit_alphabet=size // 2, **options)
    else:
        tokenizer = library.Tokenizer(library.models.Unigram())
        trainer = library.trainers.UnigramTrainer(unk_token=None, **options)
    tokenizer.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(_SPACED), behavior="isolated")
    tokenizer.train_from_iterator((" " + text for text in texts), trainer)
    document: dict[str, Any] = json.loads(tokenizer.to_str())
    return document


def _with_bytes(document: dict[str, Any]) -> dict[str, Any]:
    """Return the tokenizer with the 256 bytes in front of its vocabulary, and byte fallback on both ways."""
    model, names = document["model"], [f"<0x{byte:02X}>" for byte in range(256)]
    if model["type"] == "BPE":
        known = sorted(model["vocab"], key=model["vocab"].__getitem__)
        model["vocab"] = {name: number for number, name in enumerate([*names, *(k for k in known if k not in names)])}
    else:
        pieces = [(name, score) for name, score in model["vocab"] if name not in (*names, _NO_PIECE)]
        model["vocab"] = [(_NO_PIECE, _NEVER), *((name, _NEVER) for name in names), *pieces]
        model["unk_id"] = 0
    model["byte_fallback"] = True
    document["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    return document
