"""The tokens of a pretrained encoder: its own tokenizer, special tokens included.

A text that is too long loses its end and keeps the special tokens behind it, so that [CLS] and [SEP] stand where the
encoder saw them in its own training. Words that are cut into several tokens are known by their first one, for tags.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from habitus.data.pairs.ragged import Ragged
from habitus.data.slices import offsets_of, positions
from habitus.data.text.clean import cleaned
from habitus.errors import DataError, require
from habitus.fields.category import N_RESERVED

_TEXTS_AT_ONCE = 4096


class PretrainedTokens:
    """A tokenizer as the library `tokenizers` writes it.

    Args:
        document: plain data.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        library = require("tokenizers", "text")
        try:
            self.tokenizer = library.Tokenizer.from_str(json.dumps(document))
        except Exception as error:  # the library raises nothing narrower
            raise DataError(f"The tokenizer cannot be read ({error}); save the pretrained encoder again.") from error
        known = self.tokenizer.get_vocab(with_added_tokens=True)
        self.names = [""] * (max(known.values()) + 1)
        for name, number in known.items():
            self.names[number] = name
        alone = self.tokenizer.encode("a").special_tokens_mask
        self.n_before = alone.index(0) if 0 in alone else len(alone)  # such as [CLS]
        self.n_after = list(reversed(alone)).index(0) if 0 in alone else 0  # such as [SEP]

    def encoded(self, texts: pl.Series, most: int | None, *, clean: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (ids, tokens of each text before any cut) of some texts after others, ids shifted by `N_RESERVED`."""
        for some in texts.rechunk().to_frame().iter_slices(_TEXTS_AT_ONCE):
            read = cleaned(some.to_series(), clean=clean, lower=False).to_list()
            ids = Ragged.of([one.ids for one in self.tokenizer.encode_batch_fast(read)])
            counts = ids.lengths
            if most is not None:
                ids = self._cut(ids, most)
            yield (ids.values + N_RESERVED).astype(np.int32), counts

    def words(self, words: Sequence[str]) -> Ragged:
        """Return the ids of single words, without special tokens; a word of which nothing is left is one unknown."""
        spaced = [" " + word for word in words] if self._starts_words_with_a_space else list(words)
        found = [one.ids for one in self.tokenizer.encode_batch_fast(spaced, add_special_tokens=False)]
        unknown = [self.unknown]
        ids = Ragged.of([one or unknown for one in found])
        return Ragged(ids.values + N_RESERVED, ids.offsets)

    def located(self, texts: Sequence[str]) -> tuple[Ragged, np.ndarray, np.ndarray]:
        """Return the ids of texts as they are, without special tokens, and the characters of each token.

        Returns:
            Ids shifted by `N_RESERVED`; the first character of each token, and the one behind it, int32 (E,).
        """
        found = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ids = Ragged.of([one.ids for one in found])
        places = np.array([place for one in found for place in one.offsets], dtype=np.int32).reshape(-1, 2)
        return Ragged(ids.values + N_RESERVED, ids.offsets), places[:, 0], places[:, 1]

    @property
    def around_pairs(self) -> tuple[tuple[list[int], ...], tuple[int, int]]:
        """Ids before, between and behind two texts, shifted by `N_RESERVED`, and the token types of the two.

        A tokenizer that has no form for pairs gets one: what stands behind a single text stands behind either.
        """
        found = self.tokenizer.encode("a", "a")
        sides = found.sequence_ids
        first = [at for at, side in enumerate(sides) if side == 0]
        second = [at for at, side in enumerate(sides) if side == 1]
        ids = [one + N_RESERVED for one in found.ids]
        between = ids[first[-1] + 1 : second[0]]
        if not between:
            before, behind = self.specials
            return (before, behind, behind), (0, 1)
        types = (found.type_ids[first[0]], found.type_ids[second[0]])
        return (ids[: first[0]], between, ids[second[-1] + 1 :]), types

    @property
    def specials(self) -> tuple[list[int], list[int]]:
        """Ids before and behind every text, shifted by `N_RESERVED`."""
        ids = [one + N_RESERVED for one in self.tokenizer.encode("a").ids]
        return ids[: self.n_before], ids[len(ids) - self.n_after :]

    @property
    def unknown(self) -> int:
        """Return the id of an unknown token."""
        for name in ("[UNK]", "<unk>", "<|unk|>"):
            found = self.tokenizer.token_to_id(name)
            if found is not None:
                return int(found)
        return 0

    @property
    def _starts_words_with_a_space(self) -> bool:
        """Whether a word within a sentence is told from one at its start, as in byte-level BPE."""
        ids = self.tokenizer.encode("a a", add_special_tokens=False).ids
        return len(ids) == 2 and ids[0] != ids[1]

    def _cut(self, ids: Ragged, most: int) -> Ragged:
        """Return rows of at most `most` ids that keep the special ones behind."""
        lengths = np.minimum(ids.lengths, max(most, self.n_before + self.n_after))
        place = positions(ids.offsets[:-1], ids.offsets[:-1] + lengths)
        offsets = offsets_of(lengths)
        values = ids.values[place]
        for back in range(1, self.n_after + 1):
            values[offsets[1:] - back] = ids.values[ids.offsets[1:] - back]
        return Ragged(values, offsets)
