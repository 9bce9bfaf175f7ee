"""The manifest of a bundle: which files it has, and whether they are those that were saved.

Nothing is parsed here but the manifest itself: `read_files` returns bytes, all of them checked. A file is refused for
its name, its kind (links, pipes), its size and then its SHA-256, in this order. Messages show names and values that
come from a bundle only through `printed`. Knows nothing about what the files hold.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from habitus import __version__, strict_json
from habitus.errors import BundleError

FORMAT = "habitus-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
DAMAGED = "The bundle is damaged or was changed after it was saved: get it anew, or save the model again."

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MIB = 1 << 20
_MAX_MANIFEST = _MIB
# 64 MiB of JSON hold about 4 million names; a hostile document costs up to 0.4 s per MiB before it is refused.
_MAX_BYTES = {".json": 64 * _MIB, ".md": 16 * _MIB, ".txt": 16 * _MIB, ".safetensors": 8192 * _MIB}


def make_manifest(contents: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the manifest of files given by name.

    Raises:
        BundleError: if a bundle cannot have one of them.

    >>> make_manifest({"a.txt": b"hello"})["files"]["a.txt"]["bytes"]
    5
    """
    for name, content in contents.items():
        _check_name(name)
        limit = _MAX_BYTES[Path(name).suffix]
        insist(len(content) <= limit, f"'{name}' has {len(content)} bytes; a bundle takes up to {limit}.")
    _check_distinct(contents)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "habitus_version": __version__,
        "files": {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in contents.items()},
    }
    return {**manifest, "hash": _hash_of(manifest)}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest in a folder; the files it lists are not looked at.

    Raises:
        BundleError: if it is missing, changed, of a newer format or not a manifest.
    """
    manifest: dict[str, Any] = parse_json(_read_file(folder / MANIFEST, _MAX_MANIFEST), MANIFEST)
    insist(
        isinstance(manifest, dict) and manifest.get("format") == FORMAT,
        f"'{folder / MANIFEST}' is not the manifest of a Habitus bundle; give the folder of a saved model.",
    )
    version: Any = manifest.get("format_version")
    insist(type(version) is int and version >= 1, f"'{folder}' has format_version={printed(version)}. {DAMAGED}")
    insist(
        version <= FORMAT_VERSION,
        f"'{folder}' was written by a newer Habitus ({printed(manifest.get('habitus_version'))}, bundle format "
        f"{printed(version)}; this one reads up to {FORMAT_VERSION}). Upgrade with: pip install -U habitus",
    )
    insist(manifest.get("hash") == _hash_of(manifest), f"The manifest of '{folder}' was changed. {DAMAGED}")
    _check_entries(manifest.get("files"))
    return manifest


def read_files(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the content of all files that a manifest lists, every one of them checked.

    Raises:
        BundleError: if one is missing or not as listed, or if the folder holds others.
    """
    # Hidden files (.DS_Store, .gitattributes) come by themselves; they are never opened.
    for name in list_folder(folder):
        insist(
            name in files or name == MANIFEST or name.startswith("."),
            f"'{folder}' holds {printed(name)}, which its manifest does not list; remove it or get the model anew.",
        )
    return {name: _read_verified(folder / name, entry) for name, entry in files.items()}


def list_folder(folder: Path) -> list[str]:
    """Return the names in a folder, or raise BundleError."""
    try:
        return os.listdir(folder)
    except OSError as error:
        raise BundleError(f"'{folder}' cannot be listed ({error.strerror}); check the path and permissions.") from error


def parse_json(data: bytes, file: str) -> Any:
    """Read strict JSON out of a bundle, or raise BundleError."""
    try:
        return strict_json.parse(data)
    except (ValueError, MemoryError) as error:
        raise BundleError(f"'{file}' is not the JSON that a bundle holds ({printed(str(error))}). {DAMAGED}") from error


def insist(holds: bool, otherwise: str) -> None:
    """Raise BundleError with a sentence unless something holds."""
    if not holds:
        raise BundleError(otherwise)


def printed(value: Any) -> str:
    """Show a value from a file that is not trusted: short, and without control characters.

    >>> printed("\\x1b[31mred")
    "'\\\\x1b[31mred'"
    """
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _hash_of(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "hash"}
    return _sha256(strict_json.dump(rest))


def _check_entries(files: Any) -> None:
    insist(isinstance(files, dict) and WEIGHTS in files, f"The manifest does not list '{WEIGHTS}'. {DAMAGED}")
    _check_distinct(files)
    for name, entry in files.items():
        _check_name(name)
        insist(
            isinstance(entry, dict) and set(entry) == {"sha256", "bytes"} and _is_hash(entry["sha256"]),
            f"The manifest's entry for '{name}' is not a size and a SHA-256. {DAMAGED}",
        )
        size, limit = entry["bytes"], _MAX_BYTES[Path(name).suffix]
        insist(
            type(size) is int and 0 <= size <= limit,
            f"The manifest says that '{name}' has {printed(size)} bytes; a bundle takes 0 to {limit}. {DAMAGED}",
        )


def _check_name(name: str) -> None:
    suffix = Path(name).suffix
    known = suffix in _MAX_BYTES and (suffix != ".safetensors" or name == WEIGHTS) and name.lower() != MANIFEST
    insist(
        _NAME.fullmatch(name) is not None and known,
        f"A bundle cannot have a file named {printed(name)}: it holds '{WEIGHTS}' and .json, .md and .txt files, "
        "named with letters, digits, '_', '-' and '.', without folders.",
    )


def _check_distinct(names: Mapping[str, Any]) -> None:
    insist(
        len({name.lower() for name in names}) == len(names),
        "Two files of the bundle have names that differ only in upper and lower case; rename one of them.",
    )


def _read_verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    content = _read_file(path, entry["bytes"])
    insist(
        len(content) == entry["bytes"] and _sha256(content) == entry["sha256"],
        f"'{path}' is not what the manifest says (size or SHA-256 differ). {DAMAGED}",
    )
    return content


def _read_file(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; its kind and size are known before a byte is read."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        kind = os.lstat(path).st_mode  # a look before opening: opening a device or a pipe can have effects
        insist(stat.S_ISREG(kind), f"'{path}' is not a regular file (links and pipes are refused). {DAMAGED}")
        with open(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            insist(stat.S_ISREG(found.st_mode), f"'{path}' is not a regular file. {DAMAGED}")
            insist(found.st_size <= limit, f"'{path}' has {found.st_size} bytes, more than {limit}. {DAMAGED}")
            return file.read(found.st_size)
    except OSError as error:
        raise BundleError(f"'{path}' cannot be read ({error.strerror or error}). {DAMAGED}") from error
    except MemoryError as error:
        raise BundleError(f"'{path}' does not fit into memory; use a larger machine.") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
