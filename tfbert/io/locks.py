"""One process at a time in a directory.

On a disk the system holds the lock and drops it with the process, however that ends. Over NFS this
holds between machines too, where the server supports locks.

An object store has no locks, and neither have some network file systems: there the owner's name
stands in a file that it renews, and a file that was not renewed for `STALE_SECONDS` counts as left
behind. That keeps apart processes that start some seconds after one another. It is no guarantee for
two that start in the same moment, nor for one that is paused for longer than that and then goes on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import platform
import threading
import time
import uuid
from typing import Any

import filelock

from tfbert.errors import InputError
from tfbert.io.paths import AnyPath, as_path, is_remote
from tfbert.io.whole import remove, write_bytes

STALE_SECONDS = 180
LOCK_FILE = ".lock"
_RENEW_SECONDS = 30
_SETTLE_SECONDS = 2  # two that start together wait so long before they look who wrote last
_WAIT_SECONDS = 0.3  # for one that releases the lock just now, or asks whether it is held
# The errors of a file system without locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}

_log = logging.getLogger("tfbert")


class RunLock:
    """Held from `acquire` to `release`, or inside of `with`; the directory is made if needed."""

    def __init__(self, directory: AnyPath) -> None:
        self.directory = as_path(directory)
        self._path = self.directory / LOCK_FILE
        self._file: filelock.FileLock | None = None
        self._renewal: threading.Event | None = None
        self._owner = {"host": platform.node(), "pid": os.getpid(), "id": uuid.uuid4().hex}

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
            InputError: If another process holds it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        if is_remote(self.directory):
            self._acquire_by_name()
            return
        # Before the lock is taken: filelock 3 then empties the file.
        other = _read(self._path)
        if _is_alive(other):  # on a machine for which this file system has no locks
            raise self._held(other)
        file = filelock.FileLock(self._path, thread_local=False, fallback_to_soft=False)
        try:
            file.acquire(timeout=_WAIT_SECONDS)
        except filelock.Timeout as error:
            raise self._held(_read(self._path)) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _log.warning(
                "%s: this file system has no locks (%s); the owner's name in %s keeps other "
                "processes away, unless they start in the same second",
                *(self.directory, error.strerror, LOCK_FILE),
            )
            self._acquire_by_name()
            return
        self._file = file
        self._path.write_text(json.dumps(self._owner))

    def release(self) -> None:
        """Releases the lock; no error if it is not held."""
        if self._renewal is not None:
            self._renewal.set()
            self._renewal = None
            remove(self._path)
        if self._file is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                self._path.unlink()  # while it is still locked: nobody takes a file without a name
            self._file.release()
            self._file = None

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _acquire_by_name(self) -> None:
        other = _read(self._path)
        if _is_alive(other):
            raise self._held(other)
        self._write()
        time.sleep(_SETTLE_SECONDS)
        last = _read(self._path)
        if last.get("id") != self._owner["id"]:
            raise self._held(last)
        self._renewal = threading.Event()
        threading.Thread(target=self._renew, args=[self._renewal], daemon=True).start()

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(_RENEW_SECONDS):
            with contextlib.suppress(OSError):  # it may succeed the next time
                self._write()

    def _write(self) -> None:
        content = {**self._owner, "time": time.time()}
        write_bytes(self._path, json.dumps(content).encode())

    def _held(self, owner: dict[str, Any]) -> InputError:
        who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
        return InputError(f"{self.directory}: {who} is at work in this directory")


def is_held(directory: AnyPath) -> bool:
    """Whether a process holds the lock of a directory."""
    path = as_path(directory) / LOCK_FILE
    if is_remote(directory):
        return _is_alive(_read(path))
    try:
        # Only opened for reading: it may be the directory of another user.
        with path.open("rb") as file:
            if not filelock.lock_descriptor(file.fileno(), blocking=False):
                return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return _is_alive(_read(path))


def _read(path: AnyPath) -> dict[str, Any]:
    """The owner that is written there; empty where none can be read."""
    try:
        return json.loads(as_path(path).read_bytes())
    except (OSError, ValueError):
        return {}


def _is_alive(owner: dict[str, Any]) -> bool:
    """Whether an owner that renews its name still runs; one with a system's lock has no time."""
    if "time" not in owner:
        return False
    if owner.get("host") != platform.node():
        return time.time() - owner["time"] <= STALE_SECONDS
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process of another user
        pass
    return True
