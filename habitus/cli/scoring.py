"""What the commands that use a saved model share: opening it, moments, and files of scores."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from habitus.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

    from habitus.data.rejects import Rejects
    from habitus.model import SequenceModel

_FORMATS = (".parquet", ".csv", ".arrow")


def load_model(folder: Path) -> SequenceModel:
    """Open the model of a run, refusing a wrong path before torch is loaded."""
    from habitus.bundle import resolve_bundle

    resolve_bundle(folder)
    from habitus.model import load

    model = load(folder)
    if model.task.name == "pretrain":
        model.predict(None)  # says that there is nothing to ask
    return model


def moment(text: str) -> datetime:
    """Return a moment that was written with its zone.

    >>> moment("2024-01-31T10:00+02:00").isoformat()
    '2024-01-31T08:00:00+00:00'
    """
    import polars as pl

    from habitus.data.time_text import parse_times

    found: datetime | None = parse_times(pl.Series([text]))[0]
    if found is None:
        raise ConfigError(f"--at {text!r} is no time; write for example --at 2024-01-31T10:00Z.")
    if found.year < 1970:  # the marker of a time without a zone
        raise ConfigError(f"--at {text!r} has no time zone; write for example --at {text}Z for UTC.")
    return found


def refuse_format(out: Path) -> None:
    """Refuse a file whose name does not say in which format it is to be written."""
    if out.suffix not in _FORMATS:
        advice = did_you_mean(out.suffix, _FORMATS)
        raise ConfigError(f"--out '{out}' does not say in which format; end it in .parquet, .csv or .arrow; {advice}")


def write_scores(scores: pl.DataFrame, out: Path) -> Path:
    """Write scores in the format that the file's name says, whole or not at all."""
    import polars as pl

    from habitus.atomic import write_file

    lists = [name for name, dtype in scores.schema.items() if isinstance(dtype, pl.List)]
    if lists and out.suffix == ".csv":
        raise ConfigError(f"--out '{out}': column '{lists[0]}' holds lists, which a CSV cannot; end it in .parquet.")
    content = io.BytesIO()
    writers: dict[str, Any] = {".parquet": scores.write_parquet, ".csv": scores.write_csv, ".arrow": scores.write_ipc}
    writers[out.suffix](content)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, content.getvalue())
    return out


def said(rejects: Rejects) -> list[str]:
    """Return the sentence about rejected rows, if there are any."""
    return [rejects.summary()] if rejects.total else []
