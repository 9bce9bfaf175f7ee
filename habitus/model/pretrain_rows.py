"""From a log to the histories that pretraining may read, up to the moment at which each entity is first judged.

An entity of the examples ends at its FIRST cutoff: a model that starts here may be judged at any of them. Entities that
the examples do not name end at the latest cutoff. Without examples every history is read to its end, and a later fit
refuses the bundle where that went beyond a cutoff.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from habitus.data.encode import EncodedSequences, Encoder
from habitus.data.events import EventLog
from habitus.data.examples import Examples, derive_examples, read_examples
from habitus.data.options import Data
from habitus.data.sequence import build_sequences
from habitus.data.split import Split
from habitus.data.text.encode import encode_texts, fit_text_encoder
from habitus.data.text.table import read_texts
from habitus.errors import DataError
from habitus.prepared import read_log
from habitus.trained_on import moments_of

_WHOLE = 2**31 - 1
_LAST = "_last"


@dataclass(frozen=True)
class Unlabelled:
    """Histories without labels.

    Args:
        encoder: vocabularies and scalers of the training part.
        encoded: one row an entity (or a text), of training and validation.
        part: "train" or "validation" of each row, (n,).
        seen: hashes of the entities that were read, sorted, int64 (n,), and the last moment of each in microseconds.
        source: of the log.
        notes: sentences to say aloud.
    """

    encoder: Encoder
    encoded: EncodedSequences
    part: np.ndarray
    seen: tuple[np.ndarray, np.ndarray]
    source: str
    notes: tuple[str, ...] = ()

    def rows(self, part: str) -> EncodedSequences:
        """Return the rows of one part."""
        return self.encoded.take(np.flatnonzero(self.part == part))

    def facts(self) -> dict[str, Any]:
        """Return what is told of the data: how much, and a hash of all of it."""
        digest = hashlib.sha256("".join(self.part).encode())
        for array in [self.encoded.offsets, self.encoded.age_days, *self.encoded.ids.values()]:
            digest.update(np.ascontiguousarray(array).data)
        for array in self.encoded.numbers.values():
            digest.update(np.ascontiguousarray(array).data)
        return {
            "source": self.source,
            "n_events": int(self.encoded.lengths.sum()),
            "n_entities": len(self.encoded),
            "fingerprint": digest.hexdigest(),
        }


def prepare_unlabelled(events: Any, examples: Any | None, data: Data, split: Split) -> Unlabelled:
    """Read histories up to their first cutoff, leave out those that judge later, learn vocabularies and encode.

    Args:
        events: a log; None where `data.text` names a text of the examples.
        examples: entity and cutoff say where histories end; nothing else of the table is read. None: at their ends.
        data: how to read.
        split: which entities choose the best epoch, and which are left out whole (its test part).
    """
    data.refuse_sources(events)
    if data.text is not None:
        return _texts(examples, data, split)
    log = read_log(events, data)
    ends, part, notes = _ends(log, examples, data, split)
    sequences = build_sequences(log, ends, max_length=_WHOLE, history="latest")
    encoder = Encoder.fit(sequences, part == "train")
    encoded = encoder.encode(sequences)
    kept = np.flatnonzero(np.isin(part, ["train", "validation"]) & (encoded.lengths > 0))
    if not (encoded.lengths[kept] > 1).any():
        raise DataError(
            f"No history of '{log.source}' has two events before its cutoff; there is nothing to learn from."
        )
    frame = ends.frame[kept].with_columns(_last_moment(ends, encoded, kept))
    keys, until_us = moments_of(frame, log.schema.entity, _LAST)
    order = np.argsort(keys, kind="stable")
    seen = keys[order], until_us[order]
    return Unlabelled(encoder, encoded.take(kept), part[kept], seen, log.source, tuple([*log.notes, *notes]))


def _last_moment(ends: Examples, encoded: EncodedSequences, kept: np.ndarray) -> pl.Series:
    """Return when the last event of each kept history happened."""
    last_days = encoded.age_days[encoded.offsets[1:][kept] - 1].astype(np.float64)
    cutoff_us = ends.frame[ends.schema.cutoff].dt.epoch("us").to_numpy()[kept]
    moment_us = np.minimum(cutoff_us - 1, np.ceil(cutoff_us - last_days * 86_400e6).astype(np.int64))
    return pl.Series(_LAST, moment_us).cast(pl.Datetime("us", "UTC"))


def _ends(log: EventLog, examples: Any | None, data: Data, split: Split) -> tuple[Examples, np.ndarray, list[str]]:
    """Return one row an entity with the moment at which its history ends, and the part of each."""
    everyone = derive_examples(log)
    entity, cutoff = everyone.schema.entity, everyone.schema.cutoff
    if examples is None:
        return (
            everyone,
            split.assign(everyone.frame, entity, cutoff),
            [
                "Without examples (--examples) histories are read to their ends; a fit refuses to start where that "
                "went beyond a cutoff."
            ],
        )
    table, schema = read_examples(examples, log, cutoff=data.cutoff, drop=())
    known = table.frame.select(pl.col(schema.entity).cast(pl.String).alias("_key"), pl.col(schema.cutoff).alias("_end"))
    known = known.with_columns(_part=pl.Series(split.assign(table.frame, schema.entity, schema.cutoff)))
    firsts = known.group_by("_key").agg(pl.col("_end").min(), (pl.col("_part") != "test").any().alias("_kept"),
                                        pl.col("_part").eq("validation").any().alias("_chooses"))  # fmt: skip
    latest = table.frame[schema.cutoff].max()
    frame = everyone.frame.with_columns(_key=pl.col(entity).cast(pl.String)).join(
        firsts, on="_key", how="left", maintain_order="left"
    )
    part = frame.select(
        pl.when(~pl.col("_kept")).then(pl.lit("left-out"))
        .when(pl.col("_chooses")).then(pl.lit("validation")).otherwise(pl.lit("train"))
    ).to_series().to_numpy()  # fmt: skip
    n_unknown = frame["_end"].null_count()
    ends = frame.with_columns(pl.col("_end").fill_null(latest).alias(cutoff)).drop("_key", "_end", "_kept", "_chooses")
    notes = [f"Events at or after an entity's first cutoff are left out ({firsts.height:,} entities of the examples)."]
    if n_unknown:
        notes.append(f"{n_unknown:,} entities are in no example; theirs are left out from the latest cutoff on.")
    if (part == "left-out").any():
        notes.append(f"{(part == 'left-out').sum():,} entities of the split's test part are left out whole.")
    return Examples(ends, everyone.schema), np.asarray(part, dtype=object).astype(str), notes


def _texts(examples: Any, data: Data, split: Split) -> Unlabelled:
    """Read a table of texts; each is a history of tokens."""
    found = read_texts(examples, data, target=None)
    table, schema = found.examples, found.examples.schema
    part = split.assign(table.frame, schema.entity, schema.cutoff)
    learned = fit_text_encoder(found, part == "train", data.text_spec)
    encoder = Encoder(replace(schema, profile={}, target=None), learned.fields)
    encoded, notes = encode_texts(encoder, found, data.max_length)
    kept = np.flatnonzero(np.isin(part, ["train", "validation"]) & (encoded.lengths > 0))
    nobody = np.zeros(0, np.int64)  # a text has no events after it
    return Unlabelled(encoder, encoded.take(kept), part[kept], (nobody, nobody), found.source, tuple(notes))
