"""
Where spool files are: their names, permissions and locks.

The lock of a file is the kernel's, on a file next to it, so it ends with its process
however that ends. A name is used once; only the holder of the lock removes the file,
and the lock last. Others may delete, move or replace any of them, so a lock counts only
while its name leads to what is locked.
"""

from __future__ import annotations

import fcntl
import os
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from hh_exporter.exceptions import SpoolError

__all__ = [
    "ASIDE",
    "SUFFIX",
    "check_ours",
    "free_bytes",
    "has_lock",
    "has_log",
    "is_aside",
    "is_held",
    "is_lock_of",
    "last_change",
    "list_aside",
    "list_files",
    "look_up",
    "make_directory",
    "move_aside",
    "new_path",
    "remove",
    "remove_aside",
    "set_aside",
    "size_of",
    "sizes",
    "sync_log",
    "take_lock",
    "touch",
]

SUFFIX: Final = ".spool"
ASIDE: Final = ".corrupt"
"""What is added to the name of a file that can't be read; no exporter adopts it again."""

_LOCK: Final = ".lock"
_LOG: Final = "-wal"
_INDEX: Final = "-shm"
"""What SQLite keeps beside a file, under the file's own permissions."""


def make_directory(directory: Path) -> None:
    """
    Make *directory*, for us alone, unless it is there.

    Raises:
        SpoolError: It is there, and not ours alone to write to.
        OSError: It can't be made.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_directory(directory)


def new_path(directory: Path) -> Path:
    """
    Make a name that is never used again.
    """
    return directory / f"{uuid.uuid4().hex}{SUFFIX}"


def list_files(directory: Path) -> list[Path]:
    """
    List the spool files in *directory*, in order of their names; none where there is none.
    """
    return sorted(directory.glob(f"*{SUFFIX}"))


def list_aside(directory: Path) -> list[Path]:
    """
    List the files in *directory* that were set aside, in order of their names.
    """
    return sorted(directory.glob(f"*{SUFFIX}{ASIDE}"))


def is_aside(path: Path) -> bool:
    return path.name.endswith(ASIDE)


def check_ours(path: Path) -> None:
    """
    Raise SpoolError if another user can have written *path*, or can read it.

    Raises:
        FileNotFoundError: It is gone.
    """
    _check_directory(path.parent)
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise SpoolError(f"{path} is not a file that only this user can read: check who created it")


def _check_directory(directory: Path) -> None:
    # Others may list it, which tells them nothing; to write to it is to choose what we read.
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise SpoolError(
            f"{directory} is not a directory that only this user can write to: name one that "
            "doesn't exist yet, there or elsewhere, and it is created"
        )


def take_lock(path: Path) -> int | None:
    """
    Take the lock of *path*.

    Returns:
        A descriptor, which is the lock as long as it or a copy of it is open;
        None if it is held. If *path* is gone by then, the lock is of no use.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT
    while True:
        lock = os.open(f"{path}{_LOCK}", flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as exc:
            os.close(lock)
            if isinstance(exc, BlockingIOError):
                return None
            raise
        if is_lock_of(path, lock):
            return lock
        os.close(lock)  # its file was taken away meanwhile: another may lock the next one


def is_lock_of(path: Path, lock: int) -> bool:
    """
    Whether the descriptor *lock* is where others look for the lock of *path*.
    """
    return _identify(_stat(f"{path}{_LOCK}")) == _identify(os.fstat(lock))


def has_lock(path: Path) -> bool:
    """
    Whether *path* is locked, or was; a cleaner of temporary files may have deleted the lock.
    """
    return Path(f"{path}{_LOCK}").exists()


def look_up(path: Path) -> tuple[tuple[object, ...], tuple[int, int]]:
    """
    See where the name of *path* leads.

    Returns:
        Which files it and what SQLite keeps beside it are: others of that name are not equal.
        And their sizes, as `sizes` returns them.
    """
    file, log, index = _stat(f"{path}"), _stat(f"{path}{_LOG}"), _stat(f"{path}{_INDEX}")
    return (_identify(file), _identify(log), _identify(index)), (_size(file), _size(log))


def sizes(path: Path) -> tuple[int, int]:
    """
    Bytes of *path* and of its log; 0 for what is gone.
    """
    return _size(_stat(f"{path}")), _size(_stat(f"{path}{_LOG}"))


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _size(found: os.stat_result | None) -> int:
    return 0 if found is None else found.st_size


def _identify(found: os.stat_result | None) -> tuple[int, int] | None:
    return None if found is None else (found.st_dev, found.st_ino)


def touch(path: Path) -> None:
    """
    Have *path*, and what belongs to it, look as if it was just used: a cleaner goes by that.
    """
    for end in ("", _LOG, _INDEX, _LOCK):
        with suppress(OSError):
            os.utime(f"{path}{end}", follow_symlinks=False)


def is_held(path: Path) -> bool:
    """
    Whether a live process holds *path*. A process that takes its lock meanwhile may fail.
    """
    try:
        lock = os.open(f"{path}{_LOCK}", os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def has_log(path: Path) -> bool:
    """
    Whether *path* is open, or was not closed.
    """
    return Path(f"{path}{_LOG}").exists()


def free_bytes(path: Path) -> int | None:
    """
    Bytes that the disk of *path* has room for; None where the file system does not say.
    """
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def size_of(path: Path) -> int:
    """
    Bytes of *path*, without what belongs to it; 0 if it is gone.
    """
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def sync_log(path: Path) -> None:
    """
    Wait until the log of *path* is on the disk itself; its holder does.
    """
    # Another descriptor of it than SQLite's, which is no matter: its locks are on other files.
    log = os.open(f"{path}{_LOG}", os.O_RDONLY)
    try:
        os.fsync(log)
    finally:
        os.close(log)


def last_change(path: Path) -> float:
    """
    Say when *path* or its log was last written to, as Unix time; 0.0 if it is gone.
    """
    latest = 0.0
    for end in ("", _LOG):
        with suppress(FileNotFoundError):
            latest = max(latest, Path(f"{path}{end}").stat().st_mtime)
    return latest


def remove(path: Path) -> None:
    """
    Remove *path* and what belongs to it; the caller holds its lock, and lets go of it then.
    """
    for end in ("", _LOG, _INDEX, _LOCK):
        Path(f"{path}{end}").unlink(missing_ok=True)


def remove_aside(path: Path) -> None:
    """
    Remove a file that was set aside, and its log.
    """
    for end in ("", _LOG):
        Path(f"{path}{end}").unlink(missing_ok=True)


def set_aside(path: Path) -> Path | None:
    """
    Rename a file that can't be read, so that no exporter tries again and a person can.

    Its log is renamed with it, for a repair.

    Returns:
        Its new name; None if it is held or gone.
    """
    lock = take_lock(path)
    if lock is None:
        return None
    try:
        return move_aside(path)
    finally:
        os.close(lock)


def move_aside(path: Path) -> Path | None:
    """
    Do what `set_aside` does; the caller holds the lock of *path*.
    """
    aside = Path(f"{path}{ASIDE}")
    is_there = path.exists()
    if is_there:
        path.rename(aside)
        with suppress(FileNotFoundError):
            Path(f"{path}{_LOG}").rename(f"{aside}{_LOG}")
    remove(path)
    return aside if is_there else None
