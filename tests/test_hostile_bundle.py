"""Damaged and hostile bundles: none is accepted, none runs anything, each gets a sentence soon."""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import socket
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus import bundle as bundle_module
from habitus import manifest as manifest_module
from habitus.bundle import Bundle, read_bundle, write_bundle
from habitus.errors import BundleError

WEIGHTS, MANIFEST = "weights.safetensors", "manifest.json"
TINY = {"tensors": {"w": np.arange(3, dtype="float32")}, "documents": {"model": {"n": 1}}, "texts": {"README.md": "hi"}}


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "model"
    write_bundle(path, **TINY)
    return path


def is_tiny(bundle: Bundle) -> bool:
    return (bundle.tensors["w"].tolist(), bundle.documents, bundle.texts) == ([0, 1, 2], *list(TINY.values())[1:])


def forge(path: Path, contents: dict[str, bytes] | None = None, **changes) -> Path:
    """Change files and manifest of a bundle and make its hashes fit again, as an attacker would."""
    for name, content in (contents or {}).items():
        (path / name).write_bytes(content)
    manifest = json.loads((path / MANIFEST).read_text())
    for name, content in (contents or {}).items():
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest.update(changes)
    manifest.pop("hash", None)
    plain = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    manifest["hash"] = hashlib.sha256(plain.encode()).hexdigest()
    (path / MANIFEST).write_text(json.dumps(manifest))
    return path


def weights(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


# --- damage


def test_a_flipped_bit_in_every_fourth_byte_is_refused(tiny):
    for path in sorted(tiny.iterdir()):
        whole = path.read_bytes()
        for place in range(0, len(whole), 4):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
            with pytest.raises(BundleError):
                read_bundle(tiny)
        path.write_bytes(whole)
    assert is_tiny(read_bundle(tiny))


@pytest.mark.slow
def test_every_flipped_bit_is_refused(tiny):
    for path in sorted(tiny.iterdir()):
        whole = path.read_bytes()
        for bit in range(8 * len(whole)):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(BundleError):
                read_bundle(tiny)
        path.write_bytes(whole)


def test_the_bit_test_bites_without_hashes(tiny, monkeypatch):
    monkeypatch.setattr(manifest_module, "_sha256", lambda content: "0" * 64)
    forge(tiny)
    manifest = json.loads((tiny / MANIFEST).read_text())
    manifest["files"] = {name: {**entry, "sha256": "0" * 64} for name, entry in manifest["files"].items()}
    (tiny / MANIFEST).write_text(json.dumps({**manifest, "hash": "0" * 64}))
    whole = (tiny / WEIGHTS).read_bytes()
    (tiny / WEIGHTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert read_bundle(tiny).tensors["w"][-1] != 2, "a flipped bit of the weights loads, but for the hash"


@pytest.mark.parametrize("name", sorted(["README.md", "model.json", WEIGHTS, MANIFEST]))
def test_a_file_cut_short_grown_or_missing_is_refused(tiny, name):
    whole = (tiny / name).read_bytes()
    for content in (b"", whole[:-2], whole[: len(whole) // 2], whole + b"}", whole * 2):
        (tiny / name).write_bytes(content)
        with pytest.raises(BundleError):
            read_bundle(tiny)
    (tiny / name).unlink()
    with pytest.raises(BundleError, match=r"cannot be read \(No such file|no saved model"):
        read_bundle(tiny)


# --- hostility: as `tiny` is, all hashes fit where they can


class Bomb:
    """Leaves a file behind if anybody unpickles it."""

    def __reduce__(self):
        return (Path("executed").touch, ())


def zip_bomb(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", b"\0" * 50_000_000)
    return path.read_bytes()


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
BAD_WEIGHTS = {
    "pickle": pickle.dumps(Bomb()),
    "pickle of protocol 0": pickle.dumps(Bomb(), protocol=0),
    "empty": b"",
    "seven bytes": b"\0" * 7,
    "header of 101 MB claimed": weights({"w": ONE}, b"\0" * 4, size=101_000_000),
    "header of 101 MB there": weights(b'{"w":' + b" " * 101_000_000 + b"}"),
    "header of 2 MB, otherwise right": weights(json.dumps({"w": ONE}).encode() + b" " * 2_000_000, b"\0" * 4),
    "header of 2^64-1 claimed": weights(b"{}", size=2**64 - 1),
    "bfloat16": weights({"w": {**ONE, "dtype": "BF16", "shape": [2]}}, b"\0" * 4),
    "unknown dtype": weights({"w": {**ONE, "dtype": "PICKLE"}}, b"\0" * 4),
    "dtype that is a list": weights({"w": {**ONE, "dtype": ["F32"]}}, b"\0" * 4),
    "no dtype": weights({"w": {"shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
    "metadata of another kind": weights({"__metadata__": {"a": "b"}, "w": ONE}, b"\0" * 4),
    "wrong dtype for the size": weights({"w": {**ONE, "dtype": "F64"}}, b"\0" * 4),
    "wrong shape": weights({"w": {**ONE, "shape": [2]}}, b"\0" * 4),
    "huge shape": weights({"w": {**ONE, "shape": [2**62, 2**62]}}, b"\0" * 4),
    "shape that overflows to four bytes": weights({"w": {**ONE, "shape": [2**63, 2, 1]}}, b"\0" * 4),
    "negative shape": weights({"w": {**ONE, "shape": [-1]}}, b"\0" * 4),
    "a hundred dimensions": weights({"w": {**ONE, "shape": [1] * 100}}, b"\0" * 4),
    "empty but too large for numpy": weights({"w": {**ONE, "shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}}),
    "offsets beyond the end": weights({"w": {**ONE, "data_offsets": [0, 2**40]}}, b"\0" * 4),
    "offsets backwards": weights({"w": {**ONE, "data_offsets": [4, 0]}}, b"\0" * 4),
    "overlap": weights({"v": ONE, "w": ONE}, b"\0" * 4),
    "hole": weights({"w": {**ONE, "data_offsets": [4, 8]}}, b"\0" * 8),
    "more data than described": weights({"w": ONE}, b"\0" * 8),
    "a name twice": weights(b'{"w":%s,"w":%s}' % ((json.dumps(ONE).encode(),) * 2), b"\0" * 4),
    "a list": weights([ONE], b"\0" * 4),
    "nested header": weights(b'{"w":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "header of many numbers": weights(b'{"w":[' + b"1," * 500_000 + b"1]}"),
    "header of many empty tables": weights(b'{"w":[' + b"{}," * 300_000 + b"1e400]}"),
}
BAD_JSON = {
    "pickle": pickle.dumps(Bomb()),
    "NaN": b'{"p":NaN}',
    "1e400": b"[1e400]",
    "a key twice": b'{"a":1,"a":2}',
    "nested": b"[" * 1_000_000 + b"]" * 1_000_000,
    "5,000 digits": b"9" * 5000,
    "a megabyte of tables, then 1e400": b"[" + b"{}," * 300_000 + b"1e400]",
    "not UTF-8": b'"\xff"',
    "code": b"__import__('pathlib').Path('executed').touch()",
}


def refuse_quickly(path: Path, folder: Path, monkeypatch) -> str:
    monkeypatch.chdir(folder)
    start = time.process_time()  # not the clock on the wall: other processes may be at work
    with pytest.raises(BundleError) as caught:
        read_bundle(path)
    assert time.process_time() - start < 2
    assert not (folder / "executed").exists()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("content", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_hostile_weights_are_refused(tiny, tmp_path, monkeypatch, content):
    forge(tiny, {WEIGHTS: content})
    refuse_quickly(tiny, tmp_path, monkeypatch)


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_hostile_documents_are_refused(tiny, tmp_path, monkeypatch, content):
    forge(tiny, {"model.json": content})
    assert "model.json" in refuse_quickly(tiny, tmp_path, monkeypatch)


def test_the_bomb_is_alive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(BAD_WEIGHTS["pickle"])
    assert (tmp_path / "executed").exists()


def test_a_zip_bomb_is_not_unpacked(tiny, tmp_path, monkeypatch):
    forge(tiny, {WEIGHTS: zip_bomb(tmp_path / "bomb.zip")})
    tracemalloc.start()
    refuse_quickly(tiny, tmp_path, monkeypatch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


ENTRY = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}
WITH_WEIGHTS = {WEIGHTS: {"sha256": "0" * 64, "bytes": 4}}
BAD_NAMES = [
    "../outside.json", "/etc/hosts", "/etc/x.json", "sub/model.json", "..\\outside.json", "C:\\x.json", "..", ".", "",
    ".hidden.json", "-rf.json", "a\0.json", "a\n.json", "model.json\n", "a b.json", "é.json", "\u202e.json",
    "\x1b[2J.json",
    "model.pkl", "weights.pt", "model.py", "other.safetensors", "Weights.safetensors", "MANIFEST.JSON", "manifest.json",
    "Manifest.json", "a" * 200 + ".json", "model.JSON", "noext", "a.json.gz",
]  # fmt: skip
BAD_FILES = {
    "no files": {},
    "a list": [WEIGHTS],
    "a string": WEIGHTS,
    "null": None,
    "case variants": {**WITH_WEIGHTS, "model.json": ENTRY, "Model.json": ENTRY},
    "entry is a string": {WEIGHTS: "0" * 64},
    "no size": {WEIGHTS: {"sha256": "0" * 64}},
    "no hash": {WEIGHTS: {"bytes": 1}},
    "another hash": {WEIGHTS: {"md5": "0" * 32, "bytes": 1}},
    "a hash too short": {WEIGHTS: {"sha256": "0", "bytes": 1}},
    "a hash that is null": {WEIGHTS: {"sha256": None, "bytes": 1}},
    "huge size": {WEIGHTS: {"sha256": "0" * 64, "bytes": 10**18}},
    "huge document": {**WITH_WEIGHTS, "model.json": {"sha256": "0" * 64, "bytes": 10**12}},
    "large size, not there": {WEIGHTS: {"sha256": "0" * 64, "bytes": 2**32}},
    "negative size": {WEIGHTS: {"sha256": "0" * 64, "bytes": -1}},
    "size is true": {WEIGHTS: {"sha256": "0" * 64, "bytes": True}},
    "size is a string": {WEIGHTS: {"sha256": "0" * 64, "bytes": "4"}},
    "size is a float": {WEIGHTS: {"sha256": "0" * 64, "bytes": 4.0}},
    "size of 4,000 digits": {WEIGHTS: {"sha256": "0" * 64, "bytes": int("9" * 4000)}},
    "a file that is not there": {**WITH_WEIGHTS, "absent.json": ENTRY},
}


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_manifest_with_a_hostile_name_is_refused(tiny, tmp_path, monkeypatch, name):
    (tmp_path / "outside.json").write_bytes(b"")
    files = json.loads((tiny / MANIFEST).read_text())["files"]
    forge(tiny, files={**files, name: ENTRY})
    refuse_quickly(tiny, tmp_path, monkeypatch)


@pytest.mark.parametrize("files", BAD_FILES.values(), ids=BAD_FILES)
def test_a_hostile_list_of_files_is_refused(tiny, tmp_path, monkeypatch, files):
    forge(tiny, files=files)
    refuse_quickly(tiny, tmp_path, monkeypatch)


@pytest.mark.parametrize("size", [True, 1.0, "1", [1]], ids=ascii)
def test_a_size_is_an_integer_even_where_python_finds_it_equal(tiny, size):
    forge(tiny, {"model.json": b"1"})
    assert read_bundle(tiny).documents["model"] == 1
    files = json.loads((tiny / MANIFEST).read_text())["files"]
    forge(tiny, files={**files, "model.json": {**files["model.json"], "bytes": size}})
    with pytest.raises(BundleError, match=r"says that 'model.json' has .* bytes"):
        read_bundle(tiny)


def test_a_document_over_the_limit_is_refused_though_its_hash_fits(tiny, monkeypatch):
    forge(tiny, {"model.json": b"1" + b" " * 100})
    assert read_bundle(tiny).documents["model"] == 1
    monkeypatch.setitem(manifest_module._MAX_BYTES, ".json", 100)
    with pytest.raises(BundleError, match="a bundle takes 0 to 100"):
        read_bundle(tiny)


@pytest.mark.parametrize("name", ["model.json", WEIGHTS, MANIFEST])
def test_a_huge_file_is_refused_unread(tiny, tmp_path, monkeypatch, name):
    os.truncate(tiny / name, 2**32)  # a hole in the file: nothing on the disk
    assert "has 4294967296 bytes, more than" in refuse_quickly(tiny, tmp_path, monkeypatch)


BAD_MANIFESTS = {
    "of another program": {"format": "other"},
    "without format": {"format": None},
    "version 0": {"format_version": 0},
    "version -1": {"format_version": -1},
    "version true": {"format_version": True},
    "version in a string": {"format_version": "1"},
    "version 1.0": {"format_version": 1.0},
    "newer": {"format_version": 2, "habitus_version": "\x1b[31m" * 1000},
}


@pytest.mark.parametrize("changes", BAD_MANIFESTS.values(), ids=BAD_MANIFESTS)
def test_a_hostile_manifest_is_refused(tiny, tmp_path, monkeypatch, changes):
    forge(tiny, **changes)
    refuse_quickly(tiny, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "content", [*BAD_JSON.values(), b"[]", b"null", b"1", b" " * 2_000_000], ids=lambda c: ascii(c[:12])
)
def test_a_manifest_that_is_none_is_refused(tiny, tmp_path, monkeypatch, content):
    (tiny / MANIFEST).write_bytes(content)
    refuse_quickly(tiny, tmp_path, monkeypatch)


def test_an_edited_manifest_is_refused(tiny):
    manifest = (tiny / MANIFEST).read_text()
    for old, new in (('"habitus_version": "', '"habitus_version": "9'), ('"bytes": 2', '"bytes": 3'), ("hash", "hush")):
        assert old in manifest
        (tiny / MANIFEST).write_text(manifest.replace(old, new))
        with pytest.raises(BundleError):
            read_bundle(tiny)


def test_files_that_are_not_listed_are_refused_unless_hidden(tiny, tmp_path, monkeypatch):
    (tiny / ".gitattributes").write_text("*.safetensors filter=lfs")
    (tiny / ".cache").mkdir()
    assert is_tiny(read_bundle(tiny))
    for name in ("model.pkl", "notes.txt", "Model.json", "\x1b[2J"):
        (tiny / name).write_bytes(BAD_WEIGHTS["pickle"])
        assert "does not list" in refuse_quickly(tiny, tmp_path, monkeypatch)
        (tiny / name).unlink()
    (tiny / "folder").mkdir()
    assert "does not list" in refuse_quickly(tiny, tmp_path, monkeypatch)


@pytest.mark.skipif(os.name != "posix", reason="POSIX links and pipes")
@pytest.mark.parametrize("name", ["model.json", WEIGHTS, MANIFEST])
@pytest.mark.parametrize("kind", ["link", "dangling link", "link to itself", "pipe", "folder", "device", "socket"])
def test_what_is_not_a_regular_file_is_refused(tiny, tmp_path, monkeypatch, name, kind):
    path = tiny / name
    shutil.move(path, tmp_path / "moved")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        monkeypatch.chdir(tiny)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(name)
    else:
        places = {"link": tmp_path / "moved", "dangling link": "nowhere", "link to itself": name, "device": "/dev/zero"}
        path.symlink_to(places[kind])
    assert "not a regular file" in refuse_quickly(tiny, tmp_path, monkeypatch)


def test_nothing_is_parsed_before_everything_is_verified(tiny, monkeypatch):
    monkeypatch.setattr(bundle_module, "load", lambda data: pytest.fail("parsed"))
    monkeypatch.setattr(bundle_module, "parse_json", lambda data, file: pytest.fail("parsed"))
    (tiny / WEIGHTS).write_bytes(b"\0" * (tiny / WEIGHTS).stat().st_size)
    with pytest.raises(BundleError, match=r"weights.safetensors' is not what the manifest says"):
        read_bundle(tiny)


@given(data=st.binary(max_size=80), header=st.booleans())
def test_any_bytes_as_weights_are_read_or_refused(data, header):
    with contextlib.suppress(BundleError):
        bundle_module._parse_tensors(weights(data) if header else data)


HEADER_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.sampled_from(["F32", "F64", "I8", "BOOL", "BF16", ""]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
HEADERS = st.dictionaries(
    st.text(max_size=3),
    st.fixed_dictionaries({"dtype": HEADER_VALUES, "shape": HEADER_VALUES, "data_offsets": HEADER_VALUES})
    | HEADER_VALUES,
    max_size=3,
)


@settings(max_examples=50)
@given(header=HEADERS, data=st.binary(max_size=16))
def test_any_header_is_read_or_refused(header, data):
    with contextlib.suppress(BundleError):
        bundle_module._parse_tensors(weights(header, data))
