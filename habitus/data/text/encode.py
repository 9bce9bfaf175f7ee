"""From a table of texts to encoded rows: what is learned of training texts, and one row of tokens an example.

Time has no place in a text: ages, gaps, hours and weekdays are 0, and nothing reads them. Of a long text the first
tokens are read, which is said aloud.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from habitus.data.encode import EncodedSequences, Encoder, Fitted
from habitus.data.pairs.ragged import Ragged
from habitus.data.text.table import Texts
from habitus.data.text.token_pairs import TokenPairs
from habitus.data.text.tokens import TextVocabulary
from habitus.fields.category import Category, Vocabulary
from habitus.fields.number import Scaler
from habitus.fields.schema import Field
from habitus.fields.text import Text


def fit_text_encoder(found: Texts, is_train: np.ndarray, spec: Text) -> Encoder:
    """Learn tokens and profile fields from the training examples alone."""
    train, schema = pl.Series(is_train), found.examples.schema
    name = "+".join(found.texts.columns)
    texts = pl.concat([found.texts[column].filter(train).alias("text") for column in found.texts.columns])
    fields: dict[str, Fitted] = {name: (vocabulary := TextVocabulary.fit(spec, texts))}
    if spec.token_pairs:
        pairs = TokenPairs.learn(vocabulary, vocabulary.encode_texts(texts), spec.token_pairs)
        fields[f"{name} pairs"] = pairs
    frame = found.examples.frame.filter(train)
    profile = {column: _fit(field, frame[column]) for column, field in schema.profile.items()}
    return Encoder(schema, fields, profile)


def text_vocabulary(encoder: Encoder) -> tuple[str, TextVocabulary] | None:
    """Return the name and the tokens of an encoder of texts, None of an encoder of events."""
    for name, fitted in encoder.fields.items():
        if type(fitted) is TextVocabulary:
            return name, fitted
    return None


def encode_texts(encoder: Encoder, found: Texts, max_length: int) -> tuple[EncodedSequences, list[str]]:
    """Return one row a text, and sentences about what was cut or is not known.

    Args:
        encoder: of texts.
        found: the table.
        max_length: most tokens that are read of an example.
    """
    known = text_vocabulary(encoder)
    assert known is not None, "an encoder of events"
    name, vocabulary = known
    ids, n_tokens = encode_columns(vocabulary, found.texts, max_length)
    frame = found.examples.frame
    scalars = {column: fitted.encode(frame[column]) for column, fitted in encoder.profile.items()}
    rows = token_rows(name, ids, n_tokens)
    pairs = {other: one.pairs_of(ids) for other, one in encoder.fields.items() if isinstance(one, TokenPairs)}
    encoded = replace(
        rows,
        ids={**rows.ids, **pairs},
        profile_ids={column: scalars[column] for column in encoder.profile_sizes},
        profile_numbers={column: v for column, v in scalars.items() if column not in encoder.profile_sizes},
    )
    return encoded, cut_note(ids, n_tokens, max_length)


def token_rows(name: str, ids: Ragged, n_tokens: np.ndarray) -> EncodedSequences:
    """Return rows of tokens as rows of a field, without profile.

    Args:
        name: of the text.
        ids: of each row.
        n_tokens: int64 (n,), tokens of each row before any cut.
    """
    nothing = np.zeros(len(ids.values), dtype=np.float32)
    return EncodedSequences(
        offsets=ids.offsets,
        ids={name: ids.values},
        numbers={},
        age_days=nothing,
        gap_days=nothing,
        hour=nothing.astype(np.int8),
        weekday=nothing.astype(np.int8),
        profile_ids={},
        profile_numbers={},
        n_events=n_tokens,
        example=np.arange(len(ids)),
    )


def encode_columns(vocabulary: TextVocabulary, texts: pl.DataFrame, max_length: int) -> tuple[Ragged, np.ndarray]:
    """Return the ids of each row's texts, one after the other, and how many tokens there were before the cut."""
    most = max(1, max_length // texts.width)
    encoded = [vocabulary.encode_counted(column, most) for column in texts.get_columns()]
    ids, counts = encoded[0]
    for more, n_more in encoded[1:]:
        ids, counts = ids.beside(more), counts + n_more
    return ids, counts


def _fit(spec: Field, values: pl.Series) -> Fitted:
    if isinstance(spec, Category):
        return Vocabulary.fit(spec, values)
    assert not isinstance(spec, Text), "the profile holds no texts"
    return Scaler.fit(spec, values.cast(pl.Float64))


def cut_note(ids: Ragged, n_tokens: np.ndarray, max_length: int) -> list[str]:
    """Return a sentence about texts that are read in part, if there are any."""
    n_cut, n_lost = int((ids.lengths < n_tokens).sum()), int(n_tokens.sum() - ids.lengths.sum())
    if not n_cut:
        return []
    share = f"{100 * n_lost / n_tokens.sum():.1f} %"
    return [
        f"{n_cut:,} of {len(ids):,} texts are longer than max_length={max_length:,} tokens; their first {max_length:,} "
        f"are read, which leaves out {share} of all tokens."
    ]
