"""How a bundle reaches the Python workers: as one file that Spark distributes, read once per worker process.

The file is a zip without compression whose bytes depend on the bundle alone, named by its hash. It travels by
SparkFiles
(by artifacts through Spark Connect), never inside a closure, so each node gets it once whatever its size. What is
unpacked is checked against its manifest like every bundle.
"""

from __future__ import annotations

import getpass
import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark import SparkFiles
from pyspark.sql import SparkSession

from habitus.bundle import resolve_bundle
from habitus.errors import BundleError
from habitus.manifest import MANIFEST, read_files, read_manifest
from habitus.spark.session import is_connect

_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip holds dates; these are always the same
_KEPT = 4  # models in a worker; a session rarely scores with more
_models: dict[str, Any] = {}


@dataclass(frozen=True)
class ShippedBundle:
    """A bundle that every worker can open: its hash and the name of the file that Spark distributes."""

    hash: str
    file: str

    def open(self) -> Any:
        """Return the model, in a worker or at the driver; a process reads it once."""
        return _cached(self.hash, lambda: _load_packed(Path(SparkFiles.get(self.file))))


def open_bundle(path: str | Path) -> Any:
    """Return the model of a bundle at the driver; the same bundle is read once.

    Raises:
        BundleError: if it is missing or damaged.
    """
    from habitus.model import load  # brings torch

    folder = resolve_bundle(path)
    return _cached(str(read_manifest(folder)["hash"]), lambda: load(folder))


def ship_bundle(spark: SparkSession, path: str | Path) -> ShippedBundle:
    """Hand a bundle to Spark, which copies it to every node that needs it.

    Args:
        spark: the session.
        path: a bundle or a run folder, on the driver.

    Raises:
        BundleError: if it is missing or damaged.
    """
    folder = resolve_bundle(path)
    name = str(read_manifest(folder)["hash"])
    file = f"habitus-{name[:32]}.zip"
    local = Path(tempfile.gettempdir(), f"habitus-bundles-{_user()}", file)
    content = pack_bundle(folder)
    if not (local.is_file() and local.read_bytes() == content):
        local.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = local.with_suffix(f".{id(content)}.tmp")
        temporary.write_bytes(content)
        temporary.replace(local)
    _distribute(spark, local)
    return ShippedBundle(name, file)


def pack_bundle(folder: Path) -> bytes:
    """Return a bundle as one file, the same bytes for the same bundle."""
    manifest = read_manifest(folder)
    contents = {MANIFEST: (folder / MANIFEST).read_bytes(), **read_files(folder, manifest["files"])}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(contents.items()):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return packed.getvalue()


def unpack_bundle(content: bytes, folder: Path) -> None:
    """Write a packed bundle into a folder; `read_bundle` checks it.

    Raises:
        BundleError: if it is no packed bundle, or names files outside of the folder.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                if Path(name).name != name or name.startswith("."):
                    raise BundleError(f"The packed bundle names {name!r}, which is outside of it; get the model anew.")
                (folder / name).write_bytes(archive.read(name))
    except zipfile.BadZipFile as error:
        raise BundleError(f"The packed bundle cannot be read ({error}); ship the model again.") from error


def _cached(name: str, read: Callable[[], Any]) -> Any:
    if name not in _models:
        while len(_models) >= _KEPT:
            _models.pop(next(iter(_models)))
        _models[name] = read()
    return _models[name]


def _load_packed(packed: Path) -> Any:
    from habitus.model import load

    with tempfile.TemporaryDirectory(prefix="habitus-") as folder:
        unpack_bundle(packed.read_bytes(), Path(folder))
        return load(folder)


def _distribute(spark: SparkSession, local: Path) -> None:
    if is_connect(spark):
        spark.addArtifacts(str(local), file=True)
    else:
        spark.sparkContext.addFile(str(local))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "user"
