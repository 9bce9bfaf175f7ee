"""Bundles that are whole: there and back, old and new formats, killed writers, full disks, readers meanwhile."""

import copy
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from habitus import bundle as bundle_module
from habitus import manifest as manifest_module
from habitus.bundle import Bundle, read_bundle, resolve_bundle, write_bundle
from habitus.errors import BundleError, HabitusError

V1 = Path(__file__).parent / "fixtures" / "bundle-v1"
WEIGHTS, MANIFEST, POSIX = "weights.safetensors", "manifest.json", os.name == "posix"
TINY = {"tensors": {"w": np.arange(3, dtype="float32")}, "documents": {"model": {"n": 1}}, "texts": {"README.md": "hi"}}


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "model"
    write_bundle(path, **TINY)
    return path


def same(one: Bundle, other: dict) -> bool:
    return (
        one.documents == other["documents"]
        and one.texts == other.get("texts", {})
        and one.tensors.keys() == other["tensors"].keys()
        and all(np.array_equal(one.tensors[name], array) for name, array in other["tensors"].items())
    )


# --- there and back


def test_what_is_written_is_read(tmp_path):
    content = {
        "tensors": {"a.b": np.ones((2, 0, 3), "float32"), "n": np.array(3), "": np.zeros(1)},
        "documents": {"model": {"z": [1.5, None, True, "é\u2028"], "a": {}}, "list": [1]},
        "texts": {"README.md": "# Möglich\r\n", "notes.txt": ""},
    }
    with pytest.raises(BundleError, match="cannot be named ''"):
        write_bundle(tmp_path / "m", **content)
    del content["tensors"][""]
    name = write_bundle(tmp_path / "m", **content)
    bundle = read_bundle(str(tmp_path / "m"))
    assert same(bundle, content) and bundle.hash == name and bundle.format_version == 1
    assert sorted(os.listdir(tmp_path / "m")) == [
        "README.md", "list.json", "manifest.json", "model.json", "notes.txt", "weights.safetensors",
    ]  # fmt: skip


def test_nothing_but_tensors_and_not_even_those(tmp_path):
    write_bundle(tmp_path / "m", tensors={}, documents={})
    assert same(read_bundle(tmp_path / "m"), {"tensors": {}, "documents": {}})


FORMS = {
    "strided": np.arange(12, dtype="float32").reshape(3, 4).T,
    "reversed": np.arange(5)[::-1],
    "big-endian": np.arange(3, dtype=">f8"),
    "big-endian integers": np.arange(3, dtype=">i4"),
    "scalar": np.float32(3),
    "half": np.ones(3, "float16"),
    "bool": np.array([True, False]),
}


@pytest.mark.parametrize("array", FORMS.values(), ids=FORMS)
def test_arrays_of_every_form_come_back_equal_and_writable(tmp_path, array):
    write_bundle(tmp_path / "m", tensors={"x": array}, documents={})
    back = read_bundle(tmp_path / "m").tensors["x"]
    assert np.array_equal(back, array) and back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("=") and back.flags.writeable and back.flags.aligned


@given(
    array=arrays.arrays(
        dtype=st.sampled_from(["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]),
        shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
    )
)
def test_every_array_comes_back_bit_for_bit(array):
    data = bundle_module._dump_tensors({"x": array})
    back = bundle_module._parse_tensors(data)["x"]
    assert back.dtype == array.dtype and back.shape == array.shape and back.tobytes() == array.tobytes()


def test_the_same_content_gives_the_same_bytes_and_hash(tmp_path):
    names = [f"layer.{number}" for number in range(5)]
    one = {"tensors": {n: np.ones(2, "float32") for n in names}, "documents": {"model": {"a": 1, "b": 2}, "x": 1}}
    two = {"tensors": {n: np.ones(2, "float32") for n in names[::-1]}, "documents": {"x": 1, "model": {"b": 2, "a": 1}}}
    assert write_bundle(tmp_path / "one", **one) == write_bundle(tmp_path / "two", **two)
    for name in os.listdir(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (
        write_bundle(tmp_path / "two", tensors=one["tensors"], documents={"x": 2}) != read_bundle(tmp_path / "one").hash
    )


def test_what_was_passed_in_is_left_as_it_was(tmp_path):
    content = copy.deepcopy(TINY)
    write_bundle(tmp_path / "m", **content)
    assert np.array_equal(content["tensors"]["w"], TINY["tensors"]["w"])
    assert content["documents"] == TINY["documents"]


REFUSED_CONTENT = {
    "a complex tensor": ({"tensors": {"w": np.ones(1, "complex64")}}, "is complex64, which a bundle does not store"),
    "an object array": ({"tensors": {"w": np.array([{}])}}, "is object, which"),
    "strings": ({"tensors": {"w": np.array(["a"])}}, "which a bundle does not store"),
    "NaN": ({"documents": {"model": {"p": float("nan")}}}, "'model.json' cannot be written as JSON: nan"),
    "a numpy number": ({"documents": {"model": np.float32(1)}}, "a float32 is not plain data"),
    "an object": ({"documents": {"model": object()}}, "a object is not plain data"),
    "a key that is no string": ({"documents": {"model": {1: 2}}}, "the key 1 is not a string"),
    "two names that differ in case": ({"documents": {"model": 1, "Model": 2}}, "differ only in upper and lower case"),
    "the manifest's name": ({"documents": {"manifest": 1}}, "cannot have a file named 'manifest.json'"),
    "a folder": ({"documents": {"../model": 1}}, "cannot have a file named"),
    "a text of another kind": ({"texts": {"run.py": "1"}}, "must be named something.md"),
    "a lone surrogate": ({"texts": {"README.md": "\ud800"}}, "lone surrogate"),
}


@pytest.mark.parametrize(("change", "sentence"), REFUSED_CONTENT.values(), ids=REFUSED_CONTENT)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(tiny, change, sentence):
    with pytest.raises(BundleError, match=sentence):
        write_bundle(tiny, **{**TINY, **change})
    assert same(read_bundle(tiny), TINY)


# --- where it is


def test_a_run_folder_stands_for_its_model(tmp_path):
    write_bundle(tmp_path / "run" / "model", **TINY)
    (tmp_path / "run" / "metrics.json").write_text("{}")
    assert resolve_bundle(tmp_path / "run") == tmp_path / "run" / "model"
    assert resolve_bundle(str(tmp_path / "run" / "model")) == tmp_path / "run" / "model"
    assert same(read_bundle(tmp_path / "run"), TINY)


def test_a_missing_bundle_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for name, found in (("nowhere", "nothing"), ("file", "a file"), ("", "a folder without one")):
        with pytest.raises(
            BundleError, match=rf"found {found}, expected a folder with manifest.json .* Check the path"
        ):
            read_bundle(tmp_path / name)
    with pytest.raises(BundleError, match="found nothing"):
        read_bundle("a\0b")


def test_a_folder_of_other_files_is_never_replaced(tmp_path, tiny):
    (tmp_path / "photo.jpg").write_text("dear")
    (tiny / ".git").mkdir()
    for path in (tmp_path, tiny):
        with pytest.raises(BundleError, match="saving would delete them; give a new folder"):
            write_bundle(path, **TINY)
    assert (tmp_path / "photo.jpg").exists() and same(read_bundle(tiny), TINY)
    (tiny / ".git").rmdir()
    (tiny / ".DS_Store").write_text("")
    write_bundle(tiny, **TINY)
    (tiny / MANIFEST).write_text("{}")
    with pytest.raises(BundleError, match="not those of an intact bundle"):
        write_bundle(tiny, **TINY)
    (tmp_path / "empty").mkdir()
    write_bundle(tmp_path / "empty", **TINY)


# --- versions


def test_a_bundle_of_format_1_loads_for_ever():
    bundle = read_bundle(V1)
    assert bundle.hash == "10cd7623d4f91fbdb1b1dcf68224e369536b38b2331c2be09e34cb83bcd14b19"
    assert bundle.format_version == 1
    assert bundle.documents["model"]["task"] == {"kind": "classify", "target": "risk"}
    assert bundle.documents["vocabularies"]["item_id"] == ["a", "é", "应用"]
    assert np.array_equal(bundle.tensors["embedding.weight"], np.arange(12, dtype="float32").reshape(4, 3) / 8)
    assert bundle.tensors["steps"] == 300 and bundle.tensors["mask"].tolist() == [True, False]
    assert bundle.texts["README.md"].startswith("# Risk model")


def test_every_released_format_has_a_fixture_and_a_way_up():
    versions = range(1, manifest_module.FORMAT_VERSION + 1)
    assert all((V1.parent / f"bundle-v{version}" / MANIFEST).exists() for version in versions)
    assert sorted(bundle_module._UPGRADES) == list(versions)[:-1]


def test_old_content_is_brought_up_step_by_step(monkeypatch):
    def add(key):
        return lambda old: Bundle(old.tensors, {**old.documents, key: 1}, old.texts, old.hash, old.format_version)

    for module in (manifest_module, bundle_module):
        monkeypatch.setattr(module, "FORMAT_VERSION", 3)
    monkeypatch.setattr(bundle_module, "_UPGRADES", {1: add("two"), 2: add("three")})
    bundle = read_bundle(V1)
    assert set(bundle.documents) == {"model", "vocabularies", "two", "three"} and bundle.format_version == 1


def test_a_newer_format_is_refused_in_a_sentence(tiny):
    (tiny / MANIFEST).write_text('{"format": "habitus-bundle", "format_version": 7, "habitus_version": "9.1"}')
    with pytest.raises(
        BundleError, match=r"written by a newer Habitus \('9.1', bundle format 7; .* pip install -U hab"
    ):
        read_bundle(tiny)


# --- killed, full, at once

KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from habitus.bundle import _dump_tensors, read_bundle, write_bundle
from habitus.errors import BundleError
from habitus.manifest import make_manifest
import json
path, how = Path(sys.argv[1]), sys.argv[2]
contents = [{"tensors": {"w": np.full(20_000, n, "float32")}, "documents": {"model": {"n": n}}} for n in (0, 1)]
def naive(path, tensors, documents):
    files = {"weights.safetensors": _dump_tensors(tensors), "model.json": json.dumps(documents["model"]).encode()}
    for name, content in files.items(): (path / name).write_bytes(content)
    (path / "manifest.json").write_text(json.dumps(make_manifest(files)))
write = write_bundle if how == "atomic" else naive
write_bundle(path, **contents[0])
whole = 0
for seed in range(20):
    child = os.fork()
    if child == 0:
        while True:
            for content in contents: write(path, **content)
    time.sleep(0.004 + random.Random(seed).random() * 0.03)
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
    try:
        bundle = read_bundle(path)
        whole += (bundle.tensors["w"] == bundle.documents["model"]["n"]).all()
    except BundleError: write_bundle(path := path.with_name(f"m{seed}"), **contents[0])
if how == "atomic": write(path, **contents[1])
print(whole, len(os.listdir(path.parent)))
"""


def whole_after_kills(folder: Path, how: str) -> list[int]:
    command = [sys.executable, "-c", KILLED, str(folder / "model"), how]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two renames leave a moment without a name")
def test_20_kills_leave_a_whole_bundle_and_the_next_write_leaves_nothing_beside_it(tmp_path):
    assert whole_after_kills(tmp_path, "atomic") == [20, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_the_kills_catch_a_plain_overwrite(tmp_path):
    assert whole_after_kills(tmp_path, "plain")[0] < 20


FULL_DISK = """
import resource, sys
import numpy as np
from habitus.bundle import write_bundle
from habitus.errors import HabitusError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try: write_bundle(sys.argv[1], tensors={"w": np.ones(10_000)}, documents={})
except HabitusError as error: print(error)
"""


@pytest.mark.skipif(not POSIX, reason="no file size limit")
def test_a_full_disk_leaves_the_old_bundle_whole_and_says_so(tiny):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tiny)], capture_output=True, text=True)
    assert "There is no room left to write" in done.stdout, done.stdout + done.stderr
    assert same(read_bundle(tiny), TINY) and os.listdir(tiny.parent) == ["model"]


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to mount")
def test_a_full_file_system_leaves_the_old_bundle_whole_and_says_so(tmp_path):
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        write_bundle(tmp_path / "model", **TINY)
        with pytest.raises(HabitusError, match="no room left"):
            write_bundle(tmp_path / "model", tensors={"w": np.ones(100_000)}, documents={})
        assert same(read_bundle(tmp_path / "model"), TINY) and os.listdir(tmp_path) == ["model"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere two renames leave a moment without a name")
def test_a_reader_beside_a_writer_gets_the_old_or_the_new_whole(tmp_path):
    path, stop = tmp_path / "model", threading.Event()
    contents = [{"tensors": {"w": np.full(50, n)}, "documents": {"model": n, f"only{n}": n}} for n in (0, 1)]
    write_bundle(path, **contents[0])

    def keep_writing():
        while not stop.is_set():
            for content in contents:
                write_bundle(path, **content)

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for _ in range(200):
            bundle = read_bundle(path)
            assert same(bundle, contents[bundle.documents["model"]])
    finally:
        stop.set()
        writer.join()


def test_torch_is_not_loaded(tiny):
    script = "import sys, habitus.bundle as b; b.read_bundle(sys.argv[1]); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, str(tiny)], check=True)
