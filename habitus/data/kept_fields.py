"""Event fields that are kept from another model: a model that starts from a pretrained bundle reads as it did.

Vocabularies and scalers of events are the bundle's; profile fields are learned anew. Options that would read a kept
field otherwise are refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from habitus.data.encode import Encoder
from habitus.data.events import as_fields
from habitus.data.options import Data
from habitus.errors import ConfigError, DataError


def keeping(known: Encoder | None, learned: Encoder) -> Encoder:
    """Return what was learned, with the event fields of another encoder in place of its own.

    Raises:
        DataError: if they are other fields.
    """
    if known is None:
        return learned
    if set(known.fields) != set(learned.fields):
        raise DataError(
            f"The model to start from reads {_listed(known.fields)}, and here is {_listed(learned.fields)}; give the "
            "same fields, or start from nothing (leave out --from)."
        )
    return Encoder(learned.schema, dict(known.fields), learned.profile)


def refuse_other_meanings(known: Encoder, data: Data) -> None:
    """Refuse options that read a field of a known encoder otherwise, or not at all.

    Raises:
        ConfigError: for the first such field.
    """
    fields = known.schema.fields
    other = [name for name, spec in as_fields(data.fields).items() if fields.get(name, spec) != spec]
    for name in [*other, *(name for name in data.drop if name in fields)]:
        raise ConfigError(
            f"The model to start from reads '{name}' as {fields[name]}; leave its --field or --drop out, or start from "
            "nothing (leave out --from)."
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "no field"
