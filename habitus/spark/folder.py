"""The folder of prepared rows: Parquet parts, `sequences.json`, `encoder.json`, rejects, manifest; whole or not at all.

Spark writes into a temporary folder beside the target, which takes the target's place by one rename when everything
stands in it: a run that is killed leaves the old folder as it was, and one that is repeated leaves no row twice.
The path must mean the same folder on the driver and on every executor (one machine, NFS, a mounted bucket).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from habitus import __version__, strict_json
from habitus.atomic import replace_folder
from habitus.data.encode import Encoder
from habitus.data.rejects import Rejects
from habitus.data.sequence import Sequences, read_sequences
from habitus.errors import ConfigError, DataError
from habitus.manifest import MANIFEST
from habitus.spark.counting import fit_encoder
from habitus.spark.failures import in_a_sentence
from habitus.spark.parts import PART
from habitus.spark.prepare import SparkRows
from habitus.spark.reading import all_rejects
from habitus.spark.session import settings

FORMAT, FORMAT_VERSION = "habitus-prepared", 1
_OURS = (MANIFEST, "sequences.json", "encoder.json", "rejects.csv")


@dataclass(frozen=True)
class PreparedFolder:
    """Prepared rows on disk.

    Args:
        folder: where they are.
        sequences: what `read_sequences` opens.
        encoder: vocabularies and scalers, of the training part where there is a split.
        rejects: rows of the log and of the examples that were left out.
        n_rows: sequence rows (as many as examples, unless histories are cut into windows).
        parts: number of rows by part; empty without a split.
        notes: sentences to say aloud.
    """

    folder: Path
    sequences: Sequences
    encoder: Encoder
    rejects: Rejects
    n_rows: int
    parts: Mapping[str, int]
    notes: list[str]


def write_rows(rows: SparkRows, out: str | Path, *, encoder: Encoder | None = None) -> PreparedFolder:
    """Write sequence rows with what was learned from them.

    Args:
        rows: from `sequence_rows`.
        out: the folder; an older one of prepared rows is replaced.
        encoder: of a fitted model; None learns one from the rows of "train" (from all without a split).

    Raises:
        ConfigError: if the path is an address, or holds other files.
        DataError: if no example has an event.
    """
    folder, spark = local_folder(out), rows.frame.sparkSession
    _refuse_other_files(folder)
    with replace_folder(folder) as temporary:
        written = temporary / "rows"
        # every task its own file: joining small ones would leave too few for several readers
        with settings(spark, {"spark.sql.adaptive.coalescePartitions.enabled": "false"}), in_a_sentence("Preparing"):
            rows.frame.write.parquet(str(written))
        names = _flattened(written, temporary)
        again = spark.read.parquet(*(str(temporary / name) for name in names))
        _refuse_no_events(again, rows)
        learned = encoder or fit_encoder(again, rows.schema)
        parts = {row[0]: row[1] for row in again.groupBy(PART).count().collect()} if PART in again.columns else {}
        rejects = all_rejects(rows.log, rows.examples)
        _write_documents(temporary, rows, names, learned, rejects)
    n_rows = sum(pq.read_metadata(folder / name).num_rows for name in names)
    return PreparedFolder(folder, read_sequences(folder), learned, rejects, n_rows, parts, rows.notes)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of prepared rows after comparing it with the files.

    Raises:
        DataError: if a file is missing, or has another size or content than was written.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise DataError(f"'{folder}' holds no {MANIFEST}; give a folder that habitus spark prepare wrote.")
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    for name, entry in manifest["files"].items():
        path = folder / name
        same = path.is_file() and path.stat().st_size == entry["bytes"]
        if not same or ("sha256" in entry and _sha256(path) != entry["sha256"]):
            raise DataError(f"'{path}' is not what was written; prepare the folder again.")
    return manifest


def local_folder(out: str | Path) -> Path:
    """Return the folder of a path; refuse an address of another kind.

    >>> local_folder("file:///tmp/rows")
    PosixPath('/tmp/rows')
    """
    address = urlparse(str(out))
    if address.scheme not in ("", "file"):
        raise ConfigError(
            f"out={str(out)!r} is an address; give a path that means the same folder on the driver and on every "
            "executor, such as a mounted bucket (/dbfs/..., /Volumes/..., /mnt/...)."
        )
    return Path(address.path if address.scheme else str(out)).absolute()


def _flattened(written: Path, folder: Path) -> list[str]:
    """Move Spark's files up under plain names and return these."""
    files = sorted(written.glob("part-*.parquet"))
    names = [f"part-{number:05d}.parquet" for number in range(len(files))]
    for file, name in zip(files, names, strict=True):
        file.rename(folder / name)
    shutil.rmtree(written)
    return names


def _refuse_no_events(again: DataFrame, rows: SparkRows) -> None:
    if again.filter(again["n_events"] > 0).isEmpty():
        raise DataError(
            f"No example has an event before its cutoff: {rows.examples.n} examples meet no event of "
            f"'{rows.log.known.source}'. Check that both name the same entities in '{rows.schema.entity}' and that the "
            "cutoffs lie after the first events (habitus check prints both)."
        )


def _write_documents(folder: Path, rows: SparkRows, names: list[str], encoder: Encoder, rejects: Rejects) -> None:
    document = {
        "n_examples": rows.examples.n,
        "n_parts": len(names),
        "max_length": rows.max_length,
        "history": rows.history,
        "schema": rows.schema.to_json(),
    }
    (folder / "sequences.json").write_text(json.dumps(document, indent=1, ensure_ascii=False), "utf-8")
    (folder / "encoder.json").write_bytes(strict_json.dump(encoder.to_json()))
    if rejects.total:
        rejects.write_csv(folder / "rejects.csv")
    files: dict[str, dict[str, Any]] = {name: {"bytes": (folder / name).stat().st_size} for name in names}
    for name in _OURS[1:]:
        if (folder / name).exists():
            files[name] = {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "habitus_version": __version__, "files": files}
    (folder / MANIFEST).write_bytes(strict_json.dump(manifest, indent=2))


def _refuse_other_files(folder: Path) -> None:
    """A slip such as --out /home/me must not cost a folder of other things."""
    others = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    others = [name for name in others if name not in _OURS and not name.startswith((".", "part-"))]
    if others:
        raise ConfigError(
            f"'{folder}' holds {', '.join(sorted(others)[:3])}, which are no prepared rows and would be deleted; give "
            "a new folder, or move them away."
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
