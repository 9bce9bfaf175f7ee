"""Events written out as words, cut into the sub-words of a pretrained encoder: `piece_0`, `piece_1` ... of each event.

    token "unbelievably"            piece_0 "un"  piece_1 "##bel"  piece_2 "##iev" ...     PAD where a word has fewer
    activity "buy", item "phone"    the words "buy phone", as one event

Every event keeps one row, so that windows, labels and answers stay those of events; the network reads all pieces in
order and answers at the first one of each event (Devlin et al. 2019, arXiv:1810.04805, section 5.3). Of an event's
pieces the first ones are kept, as many as nearly all events of training have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from habitus.data.encode import Encoder
from habitus.data.list_columns import flat
from habitus.data.pairs.ragged import Ragged
from habitus.data.read_histories import LogRows, encode_histories
from habitus.data.text.pretrained import tokenizer_document
from habitus.data.text.pretrained_tokens import PretrainedTokens
from habitus.data.text.tokens import TextVocabulary
from habitus.errors import ConfigError, did_you_mean
from habitus.fields.category import N_RESERVED, PAD, Category, Vocabulary
from habitus.fields.text import Text

_MOST_PIECES, _SHARE = 16, 0.999
_ALL = Category(min_count=1, max_size=10**9)


@dataclass(frozen=True)
class EventWords:
    """How events are written as words, and their pieces.

    Args:
        fields: whose values are the words of an event, in order.
        vocabulary: of the pretrained encoder.
        n_pieces: most pieces of an event that are read, K.
    """

    fields: tuple[str, ...]
    vocabulary: TextVocabulary
    n_pieces: int

    @classmethod
    def learn(cls, rows: LogRows, fields: Sequence[str], tokenizer: str) -> EventWords:
        """Learn how many pieces an event has.

        Raises:
            ConfigError: if a field is not there.
        """
        for name in fields:
            if name not in rows.sequences.schema.fields:
                known = rows.sequences.schema.fields
                raise ConfigError(f"words names '{name}', which is no field of the log; {did_you_mean(name, known)}")
        vocabulary = TextVocabulary(Text(tokenizer), [], [], tokenizer_document(tokenizer))
        found = cls(tuple(fields), vocabulary, _MOST_PIECES)
        lengths = found._ragged(rows).lengths
        most = int(np.quantile(lengths, _SHARE, method="higher")) if len(lengths) else 1
        return cls(found.fields, vocabulary, min(max(most, 1), _MOST_PIECES))

    @property
    def names(self) -> list[str]:
        """Names of the fields of pieces."""
        return [f"piece_{number}" for number in range(self.n_pieces)]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids of each field of pieces."""
        return dict.fromkeys(self.names, self.vocabulary.size)

    @property
    def tokens(self) -> PretrainedTokens:
        """The tokenizer."""
        assert self.vocabulary.pretrained is not None, "events are written for a pretrained encoder"
        return self.vocabulary.pretrained

    def pieces(self, rows: LogRows) -> dict[str, np.ndarray]:
        """Return the pieces of every event, int32 (E,) each, in the order of the histories."""
        ids = self._ragged(rows)
        table = np.full((len(ids), self.n_pieces), PAD, dtype=np.int32)
        place = np.arange(len(ids.values)) - np.repeat(ids.offsets[:-1], ids.lengths)
        read = place < self.n_pieces
        table[np.repeat(np.arange(len(ids)), ids.lengths)[read], place[read]] = ids.values[read]
        return {name: np.ascontiguousarray(table[:, number]) for number, name in enumerate(self.names)}

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"fields": list(self.fields), "vocabulary": self.vocabulary.to_json(), "n_pieces": self.n_pieces}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EventWords:
        """Build from `to_json` data."""
        return cls(tuple(data["fields"]), TextVocabulary.from_json(data["vocabulary"]), data["n_pieces"])

    def _ragged(self, rows: LogRows) -> Ragged:
        """Return all pieces of every event: the distinct values of a field are cut once."""
        parts = [self._of_field(rows, name) for name in self.fields]
        ids = parts[0]
        for more in parts[1:]:
            ids = ids.beside(more)
        return ids

    def _of_field(self, rows: LogRows, name: str) -> Ragged:
        schema = rows.sequences.schema
        everything = Vocabulary.fit(_ALL, (flat(table, name) for table in rows.sequences.tables()))
        codes = encode_histories(Encoder(schema, {name: everything}), rows).ids[name]
        known = self.tokens.words(["", *(value.replace("_", " ") for value in everything.values)])
        place = np.where(codes >= N_RESERVED, codes - N_RESERVED + 1, 0)  # a missing value is one unknown piece
        return known.take(place)
