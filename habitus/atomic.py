"""Write a file or a folder whole or not at all, whatever kills the writer.

Order: write beside the target, fsync every file and folder, put in place by one rename, fsync the parent.
On Linux an existing folder is exchanged with the new one (renameat2, RENAME_EXCHANGE), so that a reader never
finds the name empty. Where the system or the file system cannot exchange, two renames do: between them the name
is missing for a moment, a writer killed there leaves the old folder beside it as `.NAME.habitus-old`, the next
write moves it back first, and two writers at once are not supported.
A writer holds a lock on its temporary sibling, so that the next write can tell the leftovers of killed writers
(removed) from the work of living ones (kept). Knows nothing about what is written.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from habitus.errors import HabitusError

try:
    import fcntl
except ImportError:  # Windows: leftovers are told by their age alone
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = ".habitus-tmp-"
_ASIDE = ".habitus-old"
_OLD_S = 24 * 3600  # where locks do not work, a leftover must be this old before it is removed
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # <fcntl.h>, <linux/fs.h>


def write_file(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a file whole or not at all; text is encoded as UTF-8. Missing parent folders are made.

    A symbolic link is followed: the file it points to is replaced. The old file's permissions are kept.

    Raises:
        HabitusError: if there is no room or no permission; what was there before is unchanged.

    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> write_file(folder + "/notes/a.txt", "hello"); Path(folder, "notes/a.txt").read_text()
    'hello'
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    target = Path(os.path.realpath(path))
    with _in_a_sentence(target):
        _refuse_other_kinds(target, stat.S_ISREG, "file")
        _make_folder(target.parent)
        with _temporary_sibling(target, _touch) as temporary:
            temporary.write_bytes(content)
            _copy_mode(target, temporary)
            _sync(temporary)
            os.replace(temporary, target)
            _sync(target.parent)


@contextlib.contextmanager
def replace_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary folder that takes the place of `path` when the block ends without an error.

    Everything that was in `path` is gone afterwards: the caller makes sure that it may go.
    An error in the block leaves the old folder as it was and no trace of the new one.

    Raises:
        HabitusError: if there is no room or no permission; what was there before is unchanged.

    >>> import tempfile; path = tempfile.mkdtemp() + "/model"
    >>> with replace_folder(path) as folder:
    ...     _ = (folder / "a.txt").write_text("hello")
    >>> os.listdir(path)
    ['a.txt']
    """
    target = Path(os.path.realpath(path))
    with contextlib.ExitStack() as stack:
        with _in_a_sentence(target):
            _refuse_other_kinds(target, stat.S_ISDIR, "folder")
            _make_folder(target.parent)
            _move_back(target)
            temporary = stack.enter_context(_temporary_sibling(target, Path.mkdir))
        with _in_a_sentence(target, only=_NO_ROOM):  # the caller's other errors are the caller's
            yield temporary
        with _in_a_sentence(target):
            _copy_mode(target, temporary)
            _sync_tree(temporary)
            _put_folder(temporary, target)
            _sync(target.parent)


@contextlib.contextmanager
def _in_a_sentence(path: Path, only: tuple[int, ...] | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        if error.errno in _NO_ROOM:
            raise HabitusError(
                f"There is no room left to write '{path}' ({error.strerror}). What was there before is unchanged; "
                "free some space, or raise the quota, and try again."
            ) from error
        raise HabitusError(
            f"'{path}' cannot be written ({error.strerror or error}). What was there before is unchanged; "
            "check the permissions, or give another place."
        ) from error


def _refuse_other_kinds(target: Path, is_kind: Callable[[int], bool], kind: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not is_kind(os.stat(target).st_mode):
            raise HabitusError(f"'{target}' is there already and is not a {kind}; give another path.")


# --- the temporary sibling and its lock


@contextlib.contextmanager
def _temporary_sibling(target: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a new, locked sibling; whatever has its name in the end (a failure, or the old one) is removed."""
    _clean(target)
    temporary, lock = _claim(target, create)
    try:
        yield temporary
    finally:
        _remove(temporary)
        _unlock(lock)


def _claim(target: Path, create: Callable[[Path], None]) -> tuple[Path, int | None]:
    while True:
        temporary = target.with_name(f".{target.name}{_TEMPORARY}{secrets.token_hex(8)}")
        create(temporary)
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = _lock(temporary)
            if os.path.lexists(temporary):
                return temporary, lock
            _unlock(lock)  # another writer cleaned it away before it was locked


def _clean(target: Path) -> None:
    ours = re.compile(re.escape(f".{target.name}{_TEMPORARY}") + "[0-9a-f]{16}")
    for name in os.listdir(target.parent):
        if ours.fullmatch(name):
            with contextlib.suppress(OSError):  # BlockingIOError: its writer lives
                _clean_one(target.with_name(name))


def _clean_one(leftover: Path) -> None:
    lock = _lock(leftover)
    if lock is not None or time.time() - os.lstat(leftover).st_mtime > _OLD_S:
        _remove(leftover)
    _unlock(lock)


def _lock(path: Path) -> int | None:
    """Return the descriptor that holds the lock (None where locks do not work), or raise BlockingIOError."""
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def _touch(path: Path) -> None:
    path.touch(exist_ok=False)


# --- to the disk


def _make_folder(folder: Path) -> None:
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        _sync(place.parent)


def _copy_mode(target: Path, temporary: Path) -> None:
    if target.exists():
        shutil.copymode(target, temporary)


def _sync_tree(folder: Path) -> None:
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            if not os.path.islink(os.path.join(place, name)):
                _sync(Path(place, name))
        _sync(Path(place))


def _sync(path: Path) -> None:
    is_folder = path.is_dir()
    if os.name == "nt" and is_folder:  # Windows has no fsync of a folder
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (is_folder and error.errno == errno.EINVAL):  # some network file systems refuse it for folders
            raise
    finally:
        os.close(descriptor)


# --- in place


def _put_folder(temporary: Path, target: Path) -> None:
    try:
        os.rename(temporary, target)  # nothing there, or an empty folder
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        if not _exchange(temporary, target):
            _rename_twice(temporary, target)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux, or an old C library
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _rename_twice(temporary: Path, target: Path) -> None:
    aside = _aside(target)
    _remove(aside)
    os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except OSError:
        os.rename(aside, target)
        raise
    _remove(aside)


def _move_back(target: Path) -> None:
    aside = _aside(target)
    if aside.is_dir() and not target.exists():
        os.rename(aside, target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}{_ASIDE}")
