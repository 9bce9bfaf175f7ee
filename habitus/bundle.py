"""Bundles: a saved model as a folder of data, never of code.

    manifest.json         format, version, size and SHA-256 of every other file, and a hash of all that
    weights.safetensors   every tensor
    NAME.json             documents (config, schema, vocabularies)
    README.md             texts (the model card)

The folder is replaced whole (see `habitus.atomic`), and read distrustfully: every file is checked against the
manifest before any of them is parsed, and there is no pickle anywhere. The hash tells damage and names a model; it is
no signature: whoever can rewrite every file can make a new valid bundle, which can hold wrong numbers but no code.
Knows nothing about models; docs/bundle.md describes the format for other programs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from habitus import strict_json
from habitus.atomic import replace_folder
from habitus.errors import BundleError
from habitus.manifest import (
    DAMAGED,
    FORMAT_VERSION,
    MANIFEST,
    WEIGHTS,
    insist,
    list_folder,
    make_manifest,
    parse_json,
    printed,
    read_files,
    read_manifest,
)

_MAX_HEADER = 1 << 20  # bytes; about 10,000 tensors. safetensors itself allows 100 MB, which take long to refuse
_DTYPES = {
    np.dtype(name): code
    for name, code in {
        "float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64", "int32": "I32",
        "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
    }.items()
}  # fmt: skip
_MAY_BE_LOST = {MANIFEST, ".DS_Store"}  # what may stand in a bundle's folder beside its files when it is replaced
_TRIES = 10


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds.

    Args:
        tensors: arrays by name.
        documents: JSON documents by name, without `.json`.
        texts: texts by file name.
        hash: SHA-256 (hex) that names exactly this content.
        format_version: the version found on disk; older content is already brought up to date.
    """

    tensors: Mapping[str, np.ndarray]
    documents: Mapping[str, Any]
    texts: Mapping[str, str]
    hash: str
    format_version: int


# How to bring the content of an old format to the next one: {version: function}. An entry is added with every new
# FORMAT_VERSION and never removed, together with a fixture in tests/fixtures, so that every released format loads.
_UPGRADES: dict[int, Callable[[Bundle], Bundle]] = {}


def write_bundle(
    path: str | os.PathLike[str],
    *,
    tensors: Mapping[str, np.ndarray],
    documents: Mapping[str, Any],
    texts: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Write a bundle, in place of the one that may be there, and return its hash.

    The same content gives the same bytes. A folder that holds anything but a bundle is not replaced.

    Args:
        path: the folder to make.
        tensors: arrays of floats, integers or booleans, by name (bfloat16 goes in as float32).
        documents: plain data by name; `{"model": ...}` becomes `model.json`.
        texts: `.md` and `.txt` files by file name.

    Raises:
        BundleError: if something cannot be stored, or if `path` holds other files.
        HabitusError: if there is no room; what was there before is unchanged.

    >>> import tempfile; path = tempfile.mkdtemp() + "/model"
    >>> name = write_bundle(path, tensors={"w": np.zeros(3, "float32")}, documents={"model": {"n_layers": 2}})
    >>> bundle = read_bundle(path)
    >>> bundle.documents["model"], bundle.tensors["w"].shape, bundle.hash == name
    ({'n_layers': 2}, (3,), True)
    """
    contents = {WEIGHTS: _dump_tensors(tensors)}
    for name, document in documents.items():
        contents[f"{name}.json"] = _dump_document(document, f"{name}.json")
    for name, text in texts.items():
        insist(name.endswith((".md", ".txt")), f"The text '{name}' must be named something.md or something.txt.")
        insist(strict_json.is_text(text), f"The text '{name}' holds a lone surrogate; take it out.")
        contents[name] = text.encode("utf-8")
    manifest = make_manifest(contents)
    _refuse_to_replace_other_files(Path(path))
    with replace_folder(path) as folder:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        (folder / MANIFEST).write_bytes(strict_json.dump(manifest, indent=2))
    return str(manifest["hash"])


def read_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read a bundle, checking every byte first; `path` may be the run folder that holds it as `model/`.

    A writer that replaces the bundle meanwhile does no harm: the answer is the old one or the new one, whole.

    Raises:
        BundleError: if the bundle is missing, damaged, hostile or from a newer Habitus.
    """
    folder = resolve_bundle(path)
    for _ in range(_TRIES):
        before = _identity(folder)
        try:
            return _upgrade(_read(folder))
        except BundleError:
            if _identity(folder) == before:
                raise
    raise BundleError(f"The bundle '{folder}' was replaced {_TRIES} times while it was being read; try again later.")


def resolve_bundle(path: str | os.PathLike[str]) -> Path:
    """Return the bundle's folder: `path` itself, or `path/model` of a run folder.

    Raises:
        BundleError: if neither is a bundle.
    """
    for folder in (Path(path), Path(path) / "model"):
        if os.path.lexists(folder / MANIFEST):
            return folder
    found = "a folder without one" if os.path.isdir(path) else "a file" if os.path.lexists(path) else "nothing"
    raise BundleError(
        f"There is no saved model at '{os.fspath(path)}': found {found}, expected a folder with {MANIFEST} "
        f"(what model.save makes) or a run folder with model/{MANIFEST} (what habitus fit --out makes). Check the path."
    )


# --- writing


def _dump_tensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    plain = {}
    for name in sorted(tensors):
        insist(
            name not in ("", "__metadata__") and strict_json.is_text(name),
            f"A tensor cannot be named {printed(name)}; give it another name.",
        )
        array = np.asarray(tensors[name], order="C")  # safetensors would store a strided array wrongly
        dtype = array.dtype.newbyteorder("=")
        insist(
            dtype in _DTYPES,
            f"The tensor '{name}' is {array.dtype}, which a bundle does not store; "
            f"convert it to one of {', '.join(str(known) for known in _DTYPES)}.",
        )
        plain[name] = array.astype(dtype, copy=False)
    data = bytes(save(plain))
    size = _header_size(data)
    insist(size <= _MAX_HEADER, f"{len(plain)} tensors are too many for a bundle; join some of them.")
    return data


def _dump_document(document: Any, file: str) -> bytes:
    try:
        return strict_json.dump(document)
    except ValueError as error:
        raise BundleError(f"'{file}' cannot be written as JSON: {error}.") from error


def _refuse_to_replace_other_files(folder: Path) -> None:
    """A slip such as save("/home/me") must not cost a folder of other things."""
    if not folder.is_dir():
        return
    others = sorted(set(list_folder(folder)) - _MAY_BE_LOST - _listed_files(folder))
    insist(
        not others,
        f"'{folder}' holds files that are not those of an intact bundle ({printed(', '.join(others[:3]))}), "
        "and saving would delete them; give a new folder, or move them away.",
    )


def _listed_files(folder: Path) -> set[str]:
    try:
        return set(read_manifest(folder)["files"])
    except BundleError:
        return set()


# --- reading


def _read(folder: Path) -> Bundle:
    manifest = read_manifest(folder)
    files: dict[str, dict[str, Any]] = manifest["files"]
    contents = read_files(folder, files)
    documents = [name for name in contents if name.endswith(".json")]
    texts = [name for name in contents if name.endswith((".md", ".txt"))]
    return Bundle(
        tensors=_parse_tensors(contents[WEIGHTS]),
        documents={name.removesuffix(".json"): parse_json(contents[name], name) for name in documents},
        texts={name: _decode(contents[name], name) for name in texts},
        hash=manifest["hash"],
        format_version=manifest["format_version"],
    )


def _upgrade(bundle: Bundle) -> Bundle:
    for version in range(bundle.format_version, FORMAT_VERSION):
        bundle = _UPGRADES[version](bundle)
    return bundle


def _parse_tensors(data: bytes) -> dict[str, np.ndarray]:
    size = _header_size(data)
    limit = min(_MAX_HEADER, len(data) - 8)
    insist(size <= limit, f"'{WEIGHTS}' claims a header of {size} bytes; at most {max(limit, 0)} fit. {DAMAGED}")
    header = parse_json(data[8 : 8 + size], f"the header of {WEIGHTS}")
    insist(isinstance(header, dict), f"The header of '{WEIGHTS}' is not a table of tensors. {DAMAGED}")
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        insist(
            dtype in _DTYPES.values(),
            f"The tensor {printed(name)} has dtype {printed(dtype)}; a bundle holds {', '.join(_DTYPES.values())}.",
        )
    try:
        return load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise BundleError(f"'{WEIGHTS}' is not a safetensors file ({printed(str(error))}). {DAMAGED}") from error


def _header_size(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"'{file}' is not UTF-8 text. {DAMAGED}") from error


def _identity(folder: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_ctime_ns
