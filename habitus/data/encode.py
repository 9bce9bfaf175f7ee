"""From sequence rows to flat arrays of numbers: what every model, network or counting, reads.

The `Encoder` learns vocabularies and scalers from training examples only and turns rows into `EncodedSequences`:
flat arrays over all events with offsets, never padded. Time becomes the age at the cutoff, the gap since
the previous event, hour and weekday (UTC). Knows nothing about torch, batches or targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from habitus.data.clock import DAY_US, HOUR_US
from habitus.data.list_columns import as_series, combined, flat
from habitus.data.sequence import EXAMPLE, N_EVENTS, WINDOW, Sequences
from habitus.data.slices import offsets_of, positions
from habitus.data.text.in_events import EventText, encoded_fields
from habitus.data.text.token_pairs import TokenPairs
from habitus.data.text.tokens import TextVocabulary
from habitus.errors import ConfigError
from habitus.fields.category import Category, Vocabulary
from habitus.fields.number import Scaler, share_scales
from habitus.fields.schema import Field, Schema
from habitus.fields.text import Text

Fitted = Vocabulary | Scaler


@dataclass(frozen=True)
class EncodedSequences:
    """Sequences as flat arrays; E events in all, n rows.

    Args:
        offsets: int64 (n+1), row i owns events offsets[i]:offsets[i+1].
        ids: per category field int32 (E,): 0 PAD, 1 UNKNOWN, 2 MISSING, learned values from 3.
        numbers: per number field float32 (E, 2): scaled value and missing flag.
        age_days: float32 (E,), from the event to the cutoff.
        gap_days: float32 (E,), since the previous event of the row; 0 for the first.
        hour, weekday: int8 (E,), UTC; Monday is 0.
        profile_ids, profile_numbers: per profile field, int32 (n,) or float32 (n, 2).
        n_events: int64 (n,), events before the cutoff, before any cut.
        example: int64 (n,), position in the example table (several rows an example with windows).
        target: what to predict, or None; set by the model.
    """

    offsets: np.ndarray
    ids: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    age_days: np.ndarray
    gap_days: np.ndarray
    hour: np.ndarray
    weekday: np.ndarray
    profile_ids: dict[str, np.ndarray]
    profile_numbers: dict[str, np.ndarray]
    n_events: np.ndarray
    example: np.ndarray
    target: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Events of each row, int64 (n,)."""
        return np.diff(self.offsets)

    @property
    def labels(self) -> np.ndarray:
        """The target, where the caller knows that there is one."""
        assert self.target is not None, "these rows were encoded without a target"
        return self.target

    def take(self, rows: np.ndarray) -> EncodedSequences:
        """Return the given rows, in the given order."""
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        lengths = self.lengths[rows]
        order = positions(self.offsets[rows], self.offsets[rows] + lengths)
        return EncodedSequences(
            offsets=offsets_of(lengths),
            ids={name: values[order] for name, values in self.ids.items()},
            numbers={name: values[order] for name, values in self.numbers.items()},
            age_days=self.age_days[order],
            gap_days=self.gap_days[order],
            hour=self.hour[order],
            weekday=self.weekday[order],
            profile_ids={name: values[rows] for name, values in self.profile_ids.items()},
            profile_numbers={name: values[rows] for name, values in self.profile_numbers.items()},
            n_events=self.n_events[rows],
            example=self.example[rows],
            target=None if self.target is None else self.target[rows],
        )

    def with_target(self, target: np.ndarray | None) -> EncodedSequences:
        """Return the rows with a target for each example, spread over the example's windows."""
        return replace(self, target=None if target is None else target[self.example])


@dataclass
class Encoder:
    """Vocabularies and scalers of every field, learned from training examples.

    Args:
        schema: what the columns mean.
        fields: fitted event fields by name.
        profile: fitted profile fields by name.
    """

    schema: Schema
    fields: dict[str, Fitted] = field(default_factory=dict)
    profile: dict[str, Fitted] = field(default_factory=dict)

    @classmethod
    def fit(cls, sequences: Sequences, is_train: np.ndarray) -> Encoder:
        """Learn from the examples where `is_train` (bool, one per example) holds."""
        schema = sequences.schema
        fields = {name: _fit_list(sequences, name, spec, is_train) for name, spec in schema.fields.items()}
        profile = {name: _fit_scalar(sequences, name, spec, is_train) for name, spec in schema.profile.items()}
        return cls(schema, share_scales(fields), profile)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids of each event field that is read as ids."""
        known = {name: fitted for name, fitted in self.fields.items() if gives_ids(fitted)}
        return {one: fitted.size for name, fitted in known.items() for one in _names_of_ids(name, fitted)}

    @property
    def profile_sizes(self) -> dict[str, int]:
        """Number of ids of each profile field that is read as ids."""
        return {name: fitted.size for name, fitted in self.profile.items() if gives_ids(fitted)}

    @property
    def knots(self) -> dict[str, list[float]]:
        """Training quantiles of each event field that is read as a number."""
        return _knots(self.fields)

    @property
    def groups(self) -> dict[str, list[str]]:
        """Names of the number fields of each group, in the order of the schema."""
        found: dict[str, list[str]] = {}
        for name, fitted in self.fields.items():
            if isinstance(fitted, Scaler) and fitted.spec.group is not None:
                found.setdefault(fitted.spec.group, []).append(name)
        return found

    @property
    def profile_knots(self) -> dict[str, list[float]]:
        """Training quantiles of each profile field that is read as a number."""
        return _knots(self.profile)

    def encode(self, sequences: Sequences) -> EncodedSequences:
        """Encode all rows, ordered by example (and window)."""
        parts = [self.encode_table(table) for table in sequences.tables()]
        encoded = parts[0] if len(parts) == 1 else concatenate(parts)
        in_order = np.argsort(encoded.example, kind="stable")  # windows of an example are in order already
        if (in_order == np.arange(len(in_order))).all():
            return encoded
        return encoded.take(in_order)

    def encode_table(self, table: pa.Table) -> EncodedSequences:
        """Encode one table of sequence rows.

        Raises:
            ConfigError: if the encoder is one of texts.
        """
        if any(type(fitted) is TextVocabulary for fitted in self.fields.values()):
            raise ConfigError("This model reads texts, and these are rows of events; give it a table with its texts.")
        time = combined(table, self.schema.time)
        offsets = time.offsets.to_numpy().astype(np.int64)
        time_us = time.values.cast(pa.int64()).to_numpy(zero_copy_only=False)
        cutoff_us = np.asarray(table[self.schema.cutoff].cast(pa.int64()))
        lists = encoded_fields(self.fields, partial(flat, table))
        scalars = {name: fitted.encode(as_series(table[name])) for name, fitted in self.profile.items()}
        return EncodedSequences(
            offsets=offsets,
            ids={name: lists[name] for name in self.sizes},
            numbers={name: values for name, values in lists.items() if name not in self.sizes},
            profile_ids={name: scalars[name] for name in self.profile_sizes},
            profile_numbers={name: v for name, v in scalars.items() if name not in self.profile_sizes},
            n_events=np.asarray(table[N_EVENTS]),
            example=np.asarray(table[EXAMPLE]),
            **_time_features(time_us, offsets, cutoff_us),
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        return {
            "schema": self.schema.to_json(),
            "fields": [{"name": name, **fitted.to_json()} for name, fitted in self.fields.items()],
            "profile": [{"name": name, **fitted.to_json()} for name, fitted in self.profile.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Encoder:
        """Build from `to_json` data."""
        fields = {item["name"]: _fitted_from_json(item) for item in data["fields"]}
        profile = {item["name"]: _fitted_from_json(item) for item in data["profile"]}
        return cls(Schema.from_json(data["schema"]), fields, profile)


def _knots(fitted: Mapping[str, Fitted]) -> dict[str, list[float]]:
    return {name: f.knots for name, f in fitted.items() if isinstance(f, Scaler) and not gives_ids(f)}


def _names_of_ids(name: str, fitted: Fitted) -> list[str]:
    return fitted.piece_names(name) if isinstance(fitted, EventText) else [name]


def gives_ids(fitted: Fitted) -> bool:
    """Say whether a field is read as ids (a category, or a number cut into bins)."""
    return isinstance(fitted, Vocabulary) or fitted.spec.bins is not None


def _fitted_from_json(item: Mapping[str, Any]) -> Fitted:
    data = {key: value for key, value in item.items() if key != "name"}  # a list keeps the order of the fields
    kinds: dict[str, Any] = {
        "category": Vocabulary, "number": Scaler, "text": TextVocabulary, "text of events": EventText,
        "token pairs": TokenPairs,
    }  # fmt: skip
    fitted: Fitted = kinds[data["kind"]].from_json(data)
    return fitted


def _fit(spec: Field, chunks: Iterable[pl.Series]) -> Fitted:
    if isinstance(spec, Text):
        return EventText.fit(spec, chunks)
    if isinstance(spec, Category):
        return Vocabulary.fit(spec, chunks)
    return Scaler.fit(spec, pl.concat([chunk.cast(pl.Float64) for chunk in chunks]))


def _fit_list(sequences: Sequences, name: str, spec: Field, is_train: np.ndarray) -> Fitted:
    return _fit(spec, (flat(table, name) for table in _train_tables(sequences, is_train, first_window=False)))


def _fit_scalar(sequences: Sequences, name: str, spec: Field, is_train: np.ndarray) -> Fitted:
    if isinstance(spec, Text):
        raise ConfigError(f"The profile field '{name}' cannot be a text; make it a category, or an example's --text.")
    return _fit(spec, (as_series(table[name]) for table in _train_tables(sequences, is_train, first_window=True)))


def _train_tables(sequences: Sequences, is_train: np.ndarray, *, first_window: bool) -> Iterable[pa.Table]:
    for table in sequences.tables():
        keep = is_train[np.asarray(table[EXAMPLE])]
        if first_window:
            keep = keep & (np.asarray(table[WINDOW]) == 0)
        yield table.filter(pa.array(keep))


def _time_features(time_us: np.ndarray, offsets: np.ndarray, cutoff_us: np.ndarray) -> dict[str, np.ndarray]:
    row_cutoff = np.repeat(cutoff_us, np.diff(offsets))
    gap = np.diff(time_us, prepend=time_us[:1])
    gap[offsets[:-1][np.diff(offsets) > 0]] = 0
    days = time_us // DAY_US
    return {
        "age_days": ((row_cutoff - time_us) / DAY_US).astype(np.float32),
        "gap_days": (gap / DAY_US).astype(np.float32),
        "hour": ((time_us - days * DAY_US) // HOUR_US).astype(np.int8),
        "weekday": ((days + 3) % 7).astype(np.int8),  # 1970-01-01 was a Thursday
    }


def concatenate(parts: list[EncodedSequences]) -> EncodedSequences:
    """Return the rows of several parts, one after the other, without their targets."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    def joined_dict(name: str) -> dict[str, np.ndarray]:
        keys = getattr(parts[0], name)
        return {key: np.concatenate([getattr(part, name)[key] for part in parts]) for key in keys}

    lengths = np.concatenate([part.lengths for part in parts])
    return EncodedSequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        ids=joined_dict("ids"),
        numbers=joined_dict("numbers"),
        age_days=joined("age_days"),
        gap_days=joined("gap_days"),
        hour=joined("hour"),
        weekday=joined("weekday"),
        profile_ids=joined_dict("profile_ids"),
        profile_numbers=joined_dict("profile_numbers"),
        n_events=joined("n_events"),
        example=joined("example"),
    )
