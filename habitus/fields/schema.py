"""A `Schema`: which column is the entity, which the time, and what each other column means.

It is inferred from a log (see `infer_field`), may be overridden column by column, travels with every model,
and decides how a new log is read. Knows one column at a time; row order is the business of `habitus.data`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import polars as pl

from habitus.errors import ConfigError, did_you_mean
from habitus.fields.category import Category
from habitus.fields.number import Number, plain_number
from habitus.fields.text import Text

Field = Category | Number | Text

ENTITY_NAMES = ("user_id", "entity", "entity_id", "customer_id", "client_id", "account_id", "case_id", "id", "file")
TIME_NAMES = ("timestamp", "time", "event_time", "datetime", "date", "created_at", "ts")
_KINDS: dict[str, type[Category] | type[Number] | type[Text]] = {"category": Category, "number": Number, "text": Text}
_PLAIN = ("entity", "time", "cutoff", "target", "time_zone", "time_unit")
_FEW_VALUES = 20  # an integer column with at most this many values is a code, not an amount


@dataclass(frozen=True)
class Schema:
    """What the columns of a log and of its examples mean.

    Args:
        entity: column that says whose event it is.
        time: column that says when (UTC).
        fields: event columns that are read, in order.
        profile: columns of the examples table that describe the entity.
        cutoff: column of the examples table: only events strictly before it are seen.
        target: column of the examples table to predict.
        time_zone: zone in which naive timestamps are meant; None refuses them.
        time_unit: "s", "ms", "us" or "ns" where the log writes times as numbers; None where it does not.

    >>> Schema(fields={"item_id": Category()}).entity
    'user_id'
    """

    entity: str = "user_id"
    time: str = "timestamp"
    fields: Mapping[str, Field] = field(default_factory=dict)
    profile: Mapping[str, Field] = field(default_factory=dict)
    cutoff: str = "cutoff"
    target: str | None = None
    time_zone: str | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None

    def with_examples(self, *, cutoff: str, target: str | None, profile: Mapping[str, Field]) -> Schema:
        """Return the schema with what the examples table adds."""
        return replace(self, cutoff=cutoff, target=target, profile=dict(profile))

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            **plain,
            "fields": [{"name": name, **field_to_json(spec)} for name, spec in self.fields.items()],
            "profile": [{"name": name, **field_to_json(spec)} for name, spec in self.profile.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """Build from `to_json` data."""
        rest = {name: value for name, value in data.items() if name not in ("fields", "profile")}
        return cls(
            fields=_named_fields(data.get("fields", [])),
            profile=_named_fields(data.get("profile", [])),
            **rest,
        )


def _named_fields(items: Sequence[Mapping[str, Any]]) -> dict[str, Field]:
    """Build fields from a list, which keeps their order in every JSON."""
    return {
        item["name"]: field_from_json({key: value for key, value in item.items() if key != "name"}, item["name"])
        for item in items
    }


def field_to_json(spec: Field) -> dict[str, Any]:
    """Return a field as plain data.

    >>> field_to_json(Number(log=True))
    {'kind': 'number', 'log': True, 'bins': None}
    """
    if isinstance(spec, Number):
        return {"kind": "number", **plain_number(spec)}
    return {"kind": "text" if isinstance(spec, Text) else "category", **asdict(spec)}


def field_from_json(data: Mapping[str, Any] | str, name: str = "field") -> Field:
    """Build a field from plain data, e.g. from a TOML file: `"number"` or `{kind = "number", log = true}`.

    `"text:NAME"` is `{kind = "text", tokenizer = "NAME"}`, such as that of a pretrained encoder.

    >>> field_from_json("text:subwords").tokenizer
    'subwords'
    """
    options = _plain_options(data) if isinstance(data, str) else dict(data)
    kind = options.pop("kind", None)
    if kind not in _KINDS:
        raise ConfigError(f"Field '{name}' has kind={kind!r}; {did_you_mean(str(kind), _KINDS)}")
    known = _KINDS[kind].__dataclass_fields__
    for option in options:
        if option not in known:
            raise ConfigError(f"Field '{name}' has no option '{option}'; {did_you_mean(option, known)}")
    return _KINDS[kind](**options)


def _plain_options(text: str) -> dict[str, str]:
    kind, mark, tokenizer = text.partition(":")
    return {"kind": kind, "tokenizer": tokenizer} if mark and kind == "text" else {"kind": text}


def infer_field(name: str, dtype: pl.DataType, n_unique: int) -> Field | None:
    """Return what a column most likely means, or None where it cannot be read (dates, nested types).

    Strings, booleans and codes (names ending in `id` or `code`, or integers with few values) are categories;
    other numbers are numbers.

    >>> infer_field("item_id", pl.Int64(), 5000), infer_field("amount", pl.Float64(), 900)
    (Category(min_count=2, max_size=200000, hash_buckets=None), Number(log=None, bins=None))
    """
    if dtype in (pl.String, pl.Categorical, pl.Boolean) or isinstance(dtype, pl.Enum):
        return Category()
    is_code = name.lower().endswith(("_id", "_code", "item", "code")) or name.lower() == "id"
    if dtype.is_integer():
        return Category() if is_code or n_unique <= _FEW_VALUES else Number()
    return Number() if dtype.is_numeric() else None
