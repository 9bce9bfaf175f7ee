"""Sources: turn what a user calls "my log" into one lazy frame with a row number.

A path (Parquet, CSV, TSV, Arrow or Feather; a folder of them, Hive-like subfolders too; a glob), a pyarrow table, a
Polars frame (lazy stays lazy), a pandas frame, or a folder of sound (`sound_log.py`). Files are read in sorted path
order; hidden files and markers such as `_SUCCESS` are skipped. CSV columns are all read as text (so that "007" stays
"007"); what they mean is decided later. Knows nothing about entities or times.
"""

from __future__ import annotations

import csv
import glob as globbing
import gzip
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa

from habitus.data.mel import Audio
from habitus.data.pandas_column import pandas_column
from habitus.data.sound_log import SoundLog, is_sound, sound_log
from habitus.errors import DataError

ROW = "_row"
Query = Callable[[pl.LazyFrame], pl.LazyFrame]
_KINDS = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".csv.gz": "csv", ".tsv": "csv", ".tsv.gz": "csv",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
_TAKES = (
    "Parquet, CSV, CSV.GZ, TSV, Arrow and Feather files, folders and globs of them; pyarrow, Polars and pandas tables"
)
_SEPARATORS = ",\t;|"
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Source:
    """A table to read, not yet read.

    Args:
        frame: its columns and `_row`, the row number in reading order over all files.
        label: how to call it in a sentence.
        is_text: whether all columns are text only because the file format (CSV) has no types.
        files: the files, in reading order; empty for a table in memory.
        notes: sentences to say aloud.
        sound: of a folder of sound, what its columns mean and which files were refused.
    """

    frame: pl.LazyFrame
    label: str
    is_text: bool = False
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    sound: SoundLog | None = None

    @cached_property
    def columns(self) -> dict[str, pl.DataType]:
        """Names and types of the columns, `_row` left out."""
        with readable(self.label):
            return {name: dtype for name, dtype in self.frame.collect_schema().items() if name != ROW}

    def scan(self, query: Query) -> pl.LazyFrame:
        """Return a query that works row by row over all rows, `_row` included, not yet run."""
        return query(self.frame)

    def head(self, query: Query, n: int) -> pl.DataFrame:
        """Return the first rows of a query that works row by row."""
        with readable(self.label):
            return query(self.frame).head(n).collect(engine="streaming")

    def total(self, query: Query) -> dict[str, int]:
        """Return the counts of a query of one row, which add up over parts of the log."""
        with readable(self.label):
            return query(self.frame).collect(engine="streaming").row(0, named=True)

    def facts(self, counts: Sequence[pl.Expr], unique: Sequence[pl.Expr]) -> dict[str, int]:
        """Return counts that add up over parts, and about how many values each of `unique` takes, by their names."""
        return self.total(lambda frame: frame.select(*counts, *(one.approx_n_unique() for one in unique)))

    @cached_property
    def _starts(self) -> list[int]:
        """Row number at which each file starts."""
        sizes = [_scan([file]).select(pl.len()).collect(engine="streaming").item() for file in self.files[:-1]]
        return list(accumulate(sizes, initial=0))

    def locate(self, row: int) -> tuple[str, int]:
        """Return the file of a row number and the row within it, from 1."""
        if not self.files:
            return self.label, row + 1
        file = bisect_right(self._starts, row) - 1
        return self.files[file], row - self._starts[file] + 1


def open_source(source: Any, audio: Audio | None = None) -> Source:
    """Open a log, or a table of examples; `audio` says how a fitted model reads sound. An open one passes.

    >>> open_source(pl.DataFrame({"user_id": [1, 2]})).frame.collect().to_dict(as_series=False)
    {'_row': [0, 1], 'user_id': [1, 2]}

    Raises:
        DataError: if nothing readable was given.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str | Path):
        return _from_sound(str(source), audio) if is_sound(source) else _from_path(str(source))
    if isinstance(source, pl.LazyFrame):
        return _from_frame(source, "the Polars frame")
    if isinstance(source, pl.DataFrame):
        return _from_frame(source.lazy(), "the Polars table")
    if isinstance(source, pa.Table | pa.RecordBatch):
        return _from_arrow(source)
    if type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "columns"):
        return _from_pandas(source)
    raise DataError(f"Cannot read a log from {type(source).__name__}; give one of: {_TAKES}.")


@contextmanager
def readable(label: str) -> Iterator[None]:
    """Turn errors of the reading libraries into a sentence that names the source."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, EOFError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{label} cannot be read: {first[:400]}. Mend it or leave it out, then run again.") from error


def _from_frame(frame: pl.LazyFrame, label: str, notes: Iterable[str] = ()) -> Source:
    with readable(label):
        names = frame.collect_schema().names()
    said = list(notes)
    if ROW in names:
        frame = frame.drop(ROW)
        said.append(f"Column '{ROW}' of {label} is ignored: rows are numbered anew in reading order.")
    return Source(frame.with_row_index(ROW), label, notes=tuple(said))


def _from_sound(text: str, audio: Audio | None) -> Source:
    log = sound_log(text, audio)
    return replace(_from_frame(log.frame.lazy(), f"'{text}'", log.notes), sound=log)


def _from_arrow(table: pa.Table | pa.RecordBatch) -> Source:
    label = "the Arrow table"
    _refuse_repeated(table.schema.names, label)
    with readable(label):
        frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return _from_frame(frame.lazy(), label)


def _from_pandas(table: Any) -> Source:
    label, notes = "the pandas table", []
    if all(name is not None and name not in table.columns for name in table.index.names):
        table = table.reset_index()  # an index with a name is a column
    names = [str(name).encode("utf-8", "replace").decode() for name in table.columns]
    _refuse_repeated(names, label)
    columns: list[pl.Series] = []
    for position, name in enumerate(names):
        values, note = pandas_column(table.iloc[:, position], name, label)
        columns.append(values)
        notes += [note] if note else []
    return _from_frame(pl.DataFrame(columns).lazy(), label, notes)


def _refuse_repeated(names: Sequence[str], label: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{label} has {names.count(name)} columns named '{name}'; rename all but one.")


def _from_path(text: str) -> Source:
    files, skipped = _list_files(text)
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        mixed = " and ".join(sorted(kinds))
        raise DataError(f"'{text}' mixes {mixed} files; keep one kind, or give a glob such as '*.csv'.")
    label = f"'{text}'"
    notes = [f"{len(skipped)} empty files of {label} are skipped."] if skipped else []
    with readable(label):
        frame, said = _scan_all(files, text)
    return Source(frame, label, kinds == {"csv"}, tuple(files), (*notes, *said))


def _list_files(text: str) -> tuple[list[str], list[str]]:
    """Return the files to read, and those skipped because they hold not one byte."""
    path = Path(text)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(path))]
        found = [file for file in found if _kind(str(file), strict=False)]
    else:
        found = [Path(name) for name in globbing.glob(text, recursive=True) if Path(name).is_file()]
        found = [file for file in found if not _is_hidden(Path(file.name))]
    if not found:
        what = "exists but holds no readable file" if path.is_dir() else "names no file"
        raise DataError(f"'{text}' {what}; give one of: {_TAKES}.")
    for file in found:
        _kind(str(file))
    full = sorted(str(file) for file in found if file.stat().st_size > 0)
    if not full:
        raise DataError(f"'{text}' is empty (0 bytes); give a file with a header and rows.")
    return full, [str(file) for file in found if file.stat().st_size == 0]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) and "=" not in part for part in path.parts)


def _kind(file: str, strict: bool = True) -> str:
    for ending, kind in _KINDS.items():
        if file.lower().endswith(ending):
            return kind
    if strict:
        raise DataError(f"'{file}' has an unknown ending; known are {', '.join(_KINDS)}.")
    return ""


def _scan_all(files: list[str], root: str) -> tuple[pl.LazyFrame, list[str]]:
    """Scan files as one frame; where their columns differ, take the common type and fill what is absent."""
    keys = hive_keys(files, root)
    schemas = [dict(_scan([file], keys).collect_schema()) for file in files]
    same = all(list(schema.items()) == list(schemas[0].items()) for schema in schemas)
    if same and ROW not in schemas[0] and not (keys and _kind(files[0]) == "csv"):
        return _scan(files, keys, row_index_name=ROW), []
    parts = [_scan([file], keys) for file in files]
    frame = pl.concat(parts, how="diagonal_relaxed") if len(parts) > 1 else parts[0]
    notes = [] if same else [_differences(schemas)]
    return frame.drop(ROW, strict=False).with_row_index(ROW), notes


def _differences(schemas: list[dict[str, pl.DataType]]) -> str:
    everywhere = set.intersection(*(set(schema) for schema in schemas))
    partly = sorted(set().union(*schemas) - everywhere)
    mixed = sorted(name for name in everywhere if len({str(schema[name]) for schema in schemas}) > 1)
    said = [f"columns {', '.join(partly)} are absent from some files and missing there"] if partly else []
    said += [f"columns {', '.join(mixed)} differ in type and take the common one"] if mixed else []
    return f"The {len(schemas)} files differ: {'; '.join(said) or 'their columns stand in another order'}."


def hive_keys(files: Sequence[str], root: str) -> list[str]:
    """Return the column names in folders such as `day=2024-01-31` below the folder that was given."""
    base = len(Path(root).parts) if Path(root).is_dir() else len(Path(root.partition("*")[0]).parent.parts)
    folders = [part for file in files for part in Path(file).parts[base:-1] if "=" in part]
    return list(dict.fromkeys(part.partition("=")[0] for part in folders))


def _scan(files: list[str], keys: Sequence[str] = (), **options: Any) -> pl.LazyFrame:
    kind = _kind(files[0])
    if kind == "csv":
        separator = _check_header(files[0])
        frame = pl.scan_csv(files, infer_schema=False, separator=separator, glob=False, **options)
        return frame.with_columns(_hive_values(files[0], keys)) if keys else frame
    scan = pl.scan_parquet if kind == "parquet" else pl.scan_ipc
    frame = scan(files, glob=False, hive_partitioning=bool(keys), **options)
    if not keys:
        return frame
    above = [part.partition("=")[0] for part in Path(files[0]).parts[:-1] if "=" in part]
    return frame.drop([name for name in above if name not in keys], strict=False)


def scan_file(file: str, keys: Sequence[str]) -> pl.LazyFrame:
    """Scan one file of several, with the columns that its folders name, and `_row` within it."""
    return _scan([file], keys).drop(ROW, strict=False).with_row_index(ROW)


def _hive_values(file: str, keys: Sequence[str]) -> list[pl.Expr]:
    found = dict(part.split("=", 1) for part in Path(file).parts[:-1] if "=" in part)
    texts = {key: unquote(found.get(key, _NO_PARTITION)) for key in keys}
    return [pl.lit(None if text == _NO_PARTITION else text, pl.String).alias(key) for key, text in texts.items()]


def _check_header(file: str) -> str:
    """Refuse a header that cannot be read, and return the separator it uses."""
    opener = gzip.open if file.lower().endswith(".gz") else open
    with opener(file, "rb") as stream:
        line = stream.readline()
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"'{file}' is UTF-16; save it as UTF-8.")
    text = line.decode("utf-8-sig", "replace").rstrip("\r\n")
    separator = max(_SEPARATORS, key=text.count)
    names = next(csv.reader([text], delimiter=separator), [])
    _refuse_repeated(names, f"'{file}'")
    return separator
