"""One process at a time in a run directory.

On a disk the system holds the lock and drops it with the process, however that ends. Over NFS this
holds between machines too, where the server supports locks.

An object store has no locks: there the owner's name stands in a file that it renews, and a file
that was not renewed for `STALE_SECONDS` counts as left behind. That keeps apart processes that
start some seconds after one another. It is no guarantee for two that start in the same moment, nor
for one that stands still for longer than that and then goes on.
"""

import contextlib
import json
import os
import platform
import threading
import time
import uuid

from tfbert.errors import InputError
from tfbert.io import storage

STALE_SECONDS = 180
_RENEW_SECONDS = 30
_SETTLE_SECONDS = 2  # for which two that start together wait before they look who was last
LOCK_FILE = ".lock"


class RunLock:
    """Held from `acquire` to `release`, or inside of `with`.

    Args:
        directory: The run directory; made where it does not exist.
    """

    def __init__(self, directory):
        self.directory = os.fspath(directory)
        self._path = storage.join(self.directory, LOCK_FILE)
        self._file = self._renewal = None
        self._owner = {"host": platform.node(), "pid": os.getpid(), "id": uuid.uuid4().hex}

    def acquire(self):
        """Takes the lock.

        Raises:
            InputError: If another process holds it.
        """
        if storage.is_remote(self.directory):
            self._acquire_by_name()
        else:
            os.makedirs(self.directory, exist_ok=True)
            self._file = _lock(self._path)
            if self._file is None:
                raise self._held(_read(self._path))
            self._file.truncate(0)
            json.dump(self._owner, self._file)
            self._file.flush()

    def release(self):
        """Gives the lock back; no error if it is not held."""
        if self._renewal is not None:
            self._renewal.set()
            self._renewal = None
            storage.remove(self._path)
        if self._file is not None:
            with contextlib.suppress(OSError):  # the folder may be gone
                os.unlink(self._path)  # while it is still locked: see _lock
            self._file.close()
            self._file = None

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *error):
        self.release()

    def _acquire_by_name(self):
        other = _read(self._path)
        if other and not _is_stale(other):
            raise self._held(other)
        self._write()
        time.sleep(_SETTLE_SECONDS)
        last = _read(self._path)
        if last.get("id") != self._owner["id"]:
            raise self._held(last)
        self._renewal = threading.Event()
        threading.Thread(target=self._renew, args=[self._renewal], daemon=True).start()

    def _renew(self, ended):
        while not ended.wait(_RENEW_SECONDS):
            with contextlib.suppress(OSError):  # the next time, perhaps
                self._write()

    def _write(self):
        content = {**self._owner, "time": time.time()}
        storage.write_whole(self._path, json.dumps(content).encode())

    def _held(self, owner):
        who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
        return InputError(f"{self.directory}: {who} is at work in this run directory")


def is_held(directory):
    """Whether a process holds the lock of a run directory."""
    path = storage.join(directory, LOCK_FILE)
    if storage.is_remote(directory):
        owner = _read(path)
        return bool(owner) and not _is_stale(owner)
    if not os.path.exists(path):
        return False
    file = _lock(path, create=False)
    if file is not None:
        file.close()
    return file is None


def _lock(path, create=True):
    """The locked file, or None where another process has it."""
    import fcntl

    while True:
        try:
            file = open(path, "a+" if create else "r")  # noqa: SIM115
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        # Whoever gives the lock back removes the file: this must still be the one that is there.
        try:
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except FileNotFoundError:
            pass
        file.close()


def _read(path):
    """The owner that is written there; nothing where none can be read."""
    try:
        content, _ = storage.read_file(path)
        return json.loads(content.tobytes())
    except (OSError, ValueError):
        return {}


def _is_stale(owner):
    if owner.get("host") == platform.node():
        return not _is_running(owner["pid"])
    return time.time() - owner.get("time", 0) > STALE_SECONDS


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
