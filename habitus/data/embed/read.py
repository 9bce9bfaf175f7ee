"""From a table of texts to the units of `Embed`, and from one text column to rows.

    one column of texts               texts     each for itself
    one column and a target           classes   whatever the target holds is a class
    two columns                       pairs     every row is a pair
    two columns and 0/1 or true/false pairs     a 0 says that the two do not belong together
    two columns and numbers           scores

No text stands on both sides of a split: rows that share one, directly or over others, stay together, unless that would
keep more than half of the table together; then rows with the same first text do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from habitus.data.embed.rows import EmbedEncoder, EmbedRows, Kind, numbered
from habitus.data.encode import EncodedSequences, Encoder
from habitus.data.options import Data
from habitus.data.split import Split
from habitus.data.text.encode import cut_note, text_vocabulary, token_rows
from habitus.data.text.table import TEXT_ID, Texts, read_texts
from habitus.data.text.tokens import TextVocabulary
from habitus.errors import ConfigError, DataError
from habitus.fields.category import as_category_strings
from habitus.fields.schema import Schema

FIELD = "text"
_TRUE = {"1": 1.0, "1.0": 1.0, "true": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0}


@dataclass(frozen=True)
class EmbedTable:
    """Units as they were read.

    Args:
        source: where they came from, for people.
        rows: all units.
        encoder: fitted.
        part: of each unit, (n,).
        keys: String (n,), says which unit it is.
        notes: sentences to say aloud.
        rejects: rows that could not be read.
    """

    source: str
    rows: EmbedRows
    encoder: EmbedEncoder
    part: np.ndarray
    keys: pl.Series
    notes: tuple[str, ...]
    rejects: Any


def read_to_learn(source: Any, target: str, data: Data, split: Split) -> EmbedTable:
    """Read a table of texts, divide it, and learn tokens of the training part.

    Args:
        source: what `read_texts` takes.
        target: column that says which belong together; empty where there is none.
        data: names one or two columns of texts.
        split: which rows train, choose and judge.
    """
    found = _read(source, target, data)
    kind = _kind(found, target, data)
    part, said = _divided(found, data, split)
    is_train = pl.Series(part == "train")
    texts = pl.concat([found.texts[name].filter(is_train).alias(FIELD) for name in found.texts.columns])
    schema = Schema(entity=found.examples.schema.entity, time="timestamp", fields={FIELD: data.text_spec})
    inner = Encoder(schema, {FIELD: TextVocabulary.fit(data.text_spec, texts)}, {})
    encoder = _with_target(EmbedEncoder(kind, inner), found, target, is_train)
    rows, notes = _rows(encoder, found, target, data)
    return _table(found, encoder, rows, part, [*said, *notes])


def read_to_judge(encoder: EmbedEncoder, source: Any, target: str, data: Data) -> EmbedTable:
    """Read a table of texts for a fitted model."""
    found = _read(source, target, data)
    kind = _kind(found, target, data)
    if kind != encoder.kind:
        raise DataError(
            f"'{found.source}' holds {kind}, and this model was fitted on {encoder.kind}; give a table with the same "
            "columns of texts and the same kind of target."
        )
    rows, notes = _rows(encoder, found, target, data)
    return _table(found, encoder, rows, np.full(len(rows), "given"), notes)


def encode_column(encoder: Encoder, texts: pl.Series, most: int) -> tuple[EncodedSequences, list[str]]:
    """Return one row of tokens a text, and what was cut."""
    known = text_vocabulary(encoder)
    assert known is not None, "an encoder of texts"
    ids, n_tokens = known[1].encode_counted(texts, most)
    return token_rows(FIELD, ids, n_tokens), cut_note(ids, n_tokens, most)


def _read(source: Any, target: str, data: Data) -> Texts:
    if not 1 <= len(data.texts) <= 2 or len(set(data.texts)) < len(data.texts):
        raise ConfigError(f"text={data.text!r}: name one column of texts, or two different ones with a comma between.")
    schema = Schema(entity=data.entity or TEXT_ID, time="timestamp", cutoff=data.cutoff)
    found = read_texts(source, data, target=target or None, schema=schema)
    return replace(found, texts=found.texts.fill_null(""))


def _kind(found: Texts, target: str, data: Data) -> Kind:
    if len(data.texts) == 1:
        return "classes" if target else "texts"
    if not target:
        return "pairs"
    values = found.examples.frame[target]
    if _as_share(values) is not None:
        return "pairs"
    if not values.dtype.is_numeric():
        raise DataError(
            f"The target '{target}' of '{found.source}' holds {values.dtype} such as {values[0]!r}. For two texts it "
            "is a number (how alike they are), or 0 and 1 (whether they belong together); classes are for one text."
        )
    return "scores"


def _as_share(values: pl.Series) -> np.ndarray | None:
    """Return 0 and 1, float32 (n,), where a column says yes and no; else None."""
    known = as_category_strings(values).str.to_lowercase().replace_strict(_TRUE, default=None, return_dtype=pl.Float32)
    return None if known.null_count() else known.to_numpy()


def _with_target(encoder: EmbedEncoder, found: Texts, target: str, is_train: pl.Series) -> EmbedEncoder:
    if encoder.kind not in ("scores", "classes"):
        return encoder
    values = found.examples.frame[target].filter(is_train)
    if encoder.kind == "scores":
        shares = values.cast(pl.Float64).to_numpy()
        return replace(encoder, low=float(shares.min()), high=float(shares.max()))
    return replace(encoder, classes=tuple(as_category_strings(values).unique().sort().to_list()))


def _rows(encoder: EmbedEncoder, found: Texts, target: str, data: Data) -> tuple[EmbedRows, list[str]]:
    columns = found.texts.get_columns()
    notes: list[str] = []
    if encoder.kind == "texts":
        columns = [*columns, *halves(columns[0])]
    sides = []
    for column in columns:
        side, said = encode_column(encoder.inner, column, data.max_length)
        sides.append(side)
        notes += said
    whole = sides.pop(0) if encoder.kind == "texts" else None
    texts = columns[1:] if whole is not None else columns
    group = np.stack([numbered(texts[0]), numbered(texts[-1])], axis=1)
    values = _target(encoder, found, target)
    rows = EmbedRows(encoder.kind, sides[0], sides[-1], values, group, whole, found.texts)
    return rows, [*notes, *_said(encoder, rows)]


def _target(encoder: EmbedEncoder, found: Texts, target: str) -> np.ndarray:
    if not target:
        return np.ones(found.texts.height, dtype=np.float32)
    values = found.examples.frame[target]
    if encoder.kind == "classes":  # classes that training never saw go on counting behind the known ones
        names = as_category_strings(values)
        new = sorted(set(names.to_list()) - set(encoder.classes))
        codes = {name: number for number, name in enumerate([*encoder.classes, *new])}
        return names.replace_strict(codes, return_dtype=pl.Int64).to_numpy().astype(np.float32)
    share = _as_share(values) if encoder.kind == "pairs" else None
    return values.cast(pl.Float32).to_numpy() if share is None else share


def halves(texts: pl.Series) -> list[pl.Series]:
    """Return the first and the second half of each text, by words, or by characters where there is one word.

    >>> [half.to_list() for half in halves(pl.Series(["a b c", "春天"]))]
    [['a b', '春'], ['c', '天']]
    """
    cut = []
    for text in texts.to_list():
        words = text.split()
        parts, mark = (words, " ") if len(words) > 1 else (list(text.strip()), "")
        middle = (len(parts) + 1) // 2
        cut.append((mark.join(parts[:middle]), mark.join(parts[middle:])))
    return [pl.Series("half", [pair[side] for pair in cut], dtype=pl.String) for side in (0, 1)]


def _divided(found: Texts, data: Data, split: Split) -> tuple[np.ndarray, list[str]]:
    schema, frame = found.examples.schema, found.examples.frame
    notes: list[str] = []
    if split.by in ("time", "new-entities") and schema.cutoff not in found.keys.columns:
        raise DataError(
            f"split='{split.by}' divides texts by when they were written, and '{found.source}' has no column "
            f"'{data.cutoff}'; name one with cutoff= (--cutoff), or split by entity."
        )
    if data.entity is None:
        together, notes = _together(found.texts.get_columns())
        frame = frame.with_columns(pl.Series(schema.entity, together))
    return split.assign(frame, schema.entity, schema.cutoff), notes


def _together(columns: Sequence[pl.Series]) -> tuple[np.ndarray, list[str]]:
    """Return a number for each row, the same where rows share a text, and a sentence where that is given up."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(columns[0])
    codes = numbered(pl.concat([column.alias(FIELD) for column in columns]))
    if len(columns) == 1:
        return codes, []
    left, right = codes[:n], codes[n:]
    size = int(codes.max()) + 1
    component = connected_components(coo_matrix((np.ones(n), (left, right)), shape=(size, size)), directed=False)[1]
    most = int(np.bincount(component[left]).max())
    if most <= n / 2:
        return component[left], []
    return left, [
        f"{most:,} of {n:,} pairs hang together over texts that they share, so that the split goes by the first text: "
        "a second text can stand on both of its sides."
    ]


def _table(found: Texts, encoder: EmbedEncoder, rows: EmbedRows, part: np.ndarray, said: Sequence[str]) -> EmbedTable:
    keys = found.texts.select(pl.concat_str(pl.all(), separator="\x1f").alias("key")).to_series()
    notes = tuple(dict.fromkeys([*found.examples.notes, *said]))
    return EmbedTable(found.source, rows, encoder, part, keys, notes, found.examples.rejects)


def _said(encoder: EmbedEncoder, rows: EmbedRows) -> list[str]:
    if encoder.kind == "pairs" and (rows.target == 0).any():
        n = int((rows.target == 0).sum())
        return [
            f"{n:,} of {len(rows):,} pairs do not belong together: they are learned from, and ask nothing when judged."
        ]
    if encoder.kind == "classes":
        n = int((np.bincount(rows.target.astype(np.int64))[rows.target.astype(np.int64)] == 1).sum())
        return [f"{n:,} texts are the only one of their class."] if n else []
    return []
