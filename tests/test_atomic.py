"""Files and folders written whole or not at all; the bite cases overwrite in place and are caught."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from habitus import atomic
from habitus.atomic import replace_folder, write_file
from habitus.errors import HabitusError

TMP_NAME = ".model.habitus-tmp-0123456789abcdef"


def fill(path, text):
    with replace_folder(path) as folder:
        (folder / "sub").mkdir()
        (folder / "a.txt").write_text(text)
        (folder / "sub" / "b.txt").write_text(text)


def holding(path):
    return {name.read_text() for name in (path / "a.txt", path / "sub" / "b.txt")}


@pytest.fixture(params=["exchange", "two renames"])
def both_ways(request, monkeypatch):
    if request.param == "two renames":
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)


def test_a_file_is_made_and_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    write_file(path, b"\x00one")
    write_file(path, "zwei ü\r\n")
    assert path.read_bytes() == "zwei ü\r\n".encode()
    assert os.listdir(path.parent) == ["a.json"]


def test_a_folder_is_made_and_replaced_whole(tmp_path, both_ways):
    path = tmp_path / "new" / "model"
    for text in ("one", "two", "three"):
        fill(path, text)
        (path / f"{text}.txt").write_text("goes with the next write")
    assert holding(path) == {"three"}
    assert sorted(os.listdir(path)) == ["a.txt", "sub", "three.txt"]
    assert os.listdir(path.parent) == ["model"]


@pytest.mark.skipif(sys.platform != "linux", reason="the exchange is Linux's")
def test_linux_exchanges_so_that_the_name_is_never_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_rename_twice", lambda *_: pytest.fail("two renames"))
    path, stop, missing = tmp_path / "model", threading.Event(), []

    def look():
        while not stop.is_set():
            missing.extend(() if path.exists() else ["missing"])

    fill(path, "0")
    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(30):
        fill(path, str(number))
    stop.set()
    watcher.join()
    assert not missing


@pytest.mark.parametrize("error", [ValueError("mine"), FileNotFoundError(errno.ENOENT, "mine"), KeyboardInterrupt()])
def test_an_error_in_the_block_is_the_callers_and_leaves_no_trace(tmp_path, error):
    fill(tmp_path / "model", "old")
    with pytest.raises(type(error)) as caught, replace_folder(tmp_path / "model") as folder:
        (folder / "a.txt").write_text("new")
        raise error
    assert caught.value is error
    assert holding(tmp_path / "model") == {"old"}
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("name", ["fsync", "replace", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_the_old_whole_and_says_so(tmp_path, monkeypatch, name, code):
    fill(tmp_path / "model", "old")
    write_file(tmp_path / "file", "old")
    writers = {"fsync": [fill, write_file], "rename": [fill], "replace": [write_file]}[name]

    def full(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, name, full)
    for writer in writers:
        path = tmp_path / ("model" if writer is fill else "file")
        with pytest.raises(HabitusError, match=r"There is no room left to write .* unchanged; free some space"):
            writer(path, "new")
    monkeypatch.undo()
    assert holding(tmp_path / "model") == {"old"} and (tmp_path / "file").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["file", "model"]


def test_a_full_disk_in_the_block_is_said_too(tmp_path):
    fill(tmp_path / "model", "old")
    with pytest.raises(HabitusError, match="no room left"), replace_folder(tmp_path / "model"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert holding(tmp_path / "model") == {"old"}


FILE_SIZE_LIMIT = """
import resource, sys
from habitus.atomic import replace_folder, write_file
from habitus.errors import HabitusError
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
def folder(path, content):
    with replace_folder(path) as place: (place / "a.txt").write_bytes(content)
for write, path in ((write_file, sys.argv[1] + "/file"), (folder, sys.argv[1] + "/model")):
    try: write(path, b"n" * 50_000)
    except HabitusError as error: print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit")
def test_a_real_limit_of_the_system_leaves_the_old_whole(tmp_path):
    fill(tmp_path / "model", "old")
    write_file(tmp_path / "file", "old")
    done = subprocess.run([sys.executable, "-c", FILE_SIZE_LIMIT, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.count("There is no room left") == 2, done.stdout + done.stderr
    assert holding(tmp_path / "model") == {"old"} and (tmp_path / "file").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["file", "model"]


def steps(monkeypatch):
    """Record what happens to which name: fsync (by inode), then the change of names."""
    seen = []
    fsync, exchange, replace = os.fsync, atomic._exchange, os.replace
    monkeypatch.setattr(atomic.os, "fsync", lambda fd: (seen.append(os.fstat(fd).st_ino), fsync(fd))[1])
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: (seen.append("in place"), exchange(one, other))[1])
    monkeypatch.setattr(atomic.os, "replace", lambda one, other: (seen.append("in place"), replace(one, other))[1])
    return seen


def test_all_is_on_the_disk_before_it_is_in_place_and_the_parent_after(tmp_path, monkeypatch):
    path = tmp_path / "model"
    fill(path, "old")
    seen = steps(monkeypatch)
    fill(path, "new")
    written = {os.stat(path / name).st_ino for name in ("", "a.txt", "sub", "sub/b.txt")}
    assert set(seen[:4]) == written
    assert seen[4:] == ["in place", os.stat(tmp_path).st_ino]
    seen.clear()
    write_file(tmp_path / "file", "new")
    assert seen == [os.stat(tmp_path / "file").st_ino, "in place", os.stat(tmp_path).st_ino]


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path):
    (tmp_path / TMP_NAME / "sub").mkdir(parents=True)
    (tmp_path / TMP_NAME / "sub" / "half.txt").write_text("half")
    near = [".model.habitus-tmp-mine", ".other.habitus-tmp-0123456789abcdef", "model.habitus-tmp-0123456789abcdef"]
    for name in near:
        (tmp_path / name).mkdir()
    fill(tmp_path / "model", "new")
    assert sorted(os.listdir(tmp_path)) == sorted([*near, "model"])
    (tmp_path / TMP_NAME).write_text("half")
    write_file(tmp_path / "model" / "a.txt", "x")
    assert (tmp_path / TMP_NAME).exists(), "the leftover of another target"
    with replace_folder(tmp_path / "model"):
        assert not (tmp_path / TMP_NAME).exists()


@pytest.mark.skipif(atomic.fcntl is None, reason="no locks")
def test_the_work_of_a_living_writer_is_left_alone(tmp_path):
    path = tmp_path / "model"
    with replace_folder(path) as outer:
        (outer / "a.txt").write_text("outer")
        fill(path, "inner")
        assert holding(path) == {"inner"} and (outer / "a.txt").exists()
    assert (path / "a.txt").read_text() == "outer"
    assert os.listdir(tmp_path) == ["model"]


def test_without_locks_only_old_leftovers_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "fcntl", None)
    (tmp_path / TMP_NAME).mkdir()
    fill(tmp_path / "model", "one")
    assert (tmp_path / TMP_NAME).exists()
    os.utime(tmp_path / TMP_NAME, (time.time() - 2 * 24 * 3600,) * 2)
    fill(tmp_path / "model", "two")
    assert os.listdir(tmp_path) == ["model"]


def test_writers_at_once_leave_one_of_theirs_whole(tmp_path):
    path, failed = tmp_path / "model", []

    def write(text):
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: failed.extend(() if done else [text]))
            done = False
            for _ in range(15):
                fill(path, text)
            done = True

    writers = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failed
    assert len(holding(path)) == 1 and os.listdir(tmp_path) == ["model"]


def test_a_writer_killed_between_two_renames_is_undone_by_the_next(tmp_path):
    fill(tmp_path / "model", "old")
    os.rename(tmp_path / "model", tmp_path / ".model.habitus-old")
    with pytest.raises(ValueError), replace_folder(tmp_path / "model"):
        raise ValueError
    assert holding(tmp_path / "model") == {"old"}
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_permissions_are_kept_and_new_ones_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "file", "new")
        fill(tmp_path / "model", "new")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("file", "model")] == [0o640, 0o750]
    os.chmod(tmp_path / "file", 0o600)
    os.chmod(tmp_path / "model", 0o700)
    write_file(tmp_path / "file", "newer")
    fill(tmp_path / "model", "newer")
    assert [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("file", "model")] == [0o600, 0o700]


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_a_link_is_followed(tmp_path):
    fill(tmp_path / "v1", "old")
    (tmp_path / "current").symlink_to("v1")
    fill(tmp_path / "current", "new")
    assert (tmp_path / "current").is_symlink() and holding(tmp_path / "v1") == {"new"}


@pytest.mark.skipif(os.name != "posix", reason="POSIX pipes")
def test_what_is_not_a_file_or_a_folder_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("old")
    for write, name in ((write_file, "pipe"), (fill, "pipe"), (fill, "file"), (write_file, ".")):
        with pytest.raises(HabitusError, match="is there already and is not a"):
            write(tmp_path / name, "new")
    with pytest.raises(HabitusError, match="is there already and is not a file"):
        write_file("/dev/null", "new")
    with pytest.raises(HabitusError, match="cannot be written"):
        write_file(tmp_path / "file" / "below", "new")
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from habitus.atomic import write_file
path, how = Path(sys.argv[1]), sys.argv[2]
write = write_file if how == "atomic" else lambda path, data: path.write_bytes(data)
write(path, b"0" * 300_000)
broken = 0
for seed in range(20):
    child = os.fork()
    if child == 0:
        while True:
            for letter in (b"0", b"1"): write(path, letter * 300_000)
    time.sleep(0.004 + random.Random(seed).random() * 0.02)
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
    broken += path.read_bytes() not in (b"0" * 300_000, b"1" * 300_000)
if how == "atomic": write(path, b"done")
print(broken, len(os.listdir(path.parent)))
"""


def broken_by_kills(folder: Path, how: str) -> list[int]:
    command = [sys.executable, "-c", KILLED, str(folder / "file"), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(number) for number in done.stdout.split()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_20_kills_leave_a_whole_file_and_the_next_write_leaves_nothing_beside_it(tmp_path):
    assert broken_by_kills(tmp_path, "atomic") == [0, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_the_kills_catch_a_plain_overwrite(tmp_path):
    assert broken_by_kills(tmp_path, "plain")[0] > 0
