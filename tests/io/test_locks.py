import errno
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfbert.errors import InputError
from tfbert.io import locks as run_lock
from tfbert.io.locks import LOCK_FILE, RunLock, is_held
from tfbert.io.whole import write_bytes

REPOSITORY = Path(__file__).parents[2]
HOLD = """
import sys
from tfbert.io.locks import RunLock
with RunLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """Another process that holds the lock of tmp_path."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_refused(tmp_path, other_process):
    assert is_held(tmp_path)
    message = f"process {other_process.pid} on {platform.node()} is at work in this directory"
    with pytest.raises(InputError, match=message):
        RunLock(tmp_path).acquire()


def test_the_lock_of_a_killed_process_is_no_lock(tmp_path, other_process):
    other_process.kill()
    other_process.wait()
    assert (tmp_path / LOCK_FILE).exists()
    assert not is_held(tmp_path)
    with RunLock(tmp_path):
        assert is_held(tmp_path)
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()


def test_nothing_is_left_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path / "run"):
        raise ZeroDivisionError
    assert not any((tmp_path / "run").iterdir())
    assert not is_held(tmp_path / "run")


def test_it_holds_within_a_process_too(tmp_path):
    with RunLock(tmp_path), pytest.raises(InputError):
        RunLock(tmp_path).acquire()


def test_a_lock_that_is_given_back_while_one_waits_for_it_is_taken_anew(tmp_path, monkeypatch):
    """Between opening the file and locking it, its owner may have removed it."""
    import fcntl

    flock = fcntl.flock
    first = RunLock(tmp_path)
    first.acquire()

    def release_first(file, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        first.release()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", release_first)
    with RunLock(tmp_path), pytest.raises(InputError):
        RunLock(tmp_path).acquire()


@pytest.fixture
def bucket(object_store, monkeypatch):
    monkeypatch.setattr(run_lock, "_SETTLE_SECONDS", 0)
    return "gs://bucket/run"


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def lockless(request, tmp_path, monkeypatch):
    """A folder on a file system that has no locks, as some over the network."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(run_lock, "_SETTLE_SECONDS", 0)
    return tmp_path


def test_without_locks_there_is_a_warning_and_the_owners_name(lockless, caplog):
    with RunLock(lockless):
        assert "this file system has no locks" in caplog.text
        assert is_held(lockless)
        assert json.loads((lockless / LOCK_FILE).read_text())["pid"] == os.getpid()
        with pytest.raises(InputError, match=f"process {os.getpid()} on {platform.node()} is at"):
            RunLock(lockless).acquire()
    assert not is_held(lockless)
    assert not any(lockless.iterdir())


def test_without_locks_an_owner_that_died_or_was_not_renewed_is_none(lockless):
    write_owner(lockless)
    with pytest.raises(InputError, match="process 1 on elsewhere"):
        RunLock(lockless).acquire()
    ended = subprocess.Popen(["true"])
    ended.wait()
    for dead in (
        {"host": platform.node(), "pid": ended.pid},
        {"time": time.time() - run_lock.STALE_SECONDS - 1},
    ):
        write_owner(lockless, **dead)
        assert not is_held(lockless)
        with RunLock(lockless):
            assert is_held(lockless)


def test_who_finds_a_lock_believes_the_name_of_one_that_finds_none(tmp_path):
    write_owner(tmp_path)
    assert is_held(tmp_path)
    with pytest.raises(InputError, match="process 1 on elsewhere"):
        RunLock(tmp_path).acquire()


def test_other_refusals_are_not_taken_for_another_process(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="broken disk"):
        RunLock(tmp_path).acquire()


def write_owner(bucket, **changes):
    owner = {"host": "elsewhere", "pid": 1, "id": "x", "time": time.time(), **changes}
    write_bytes(f"{bucket}/{LOCK_FILE}", json.dumps(owner).encode())


def test_an_object_store_names_the_owner(bucket):
    with RunLock(bucket):
        assert is_held(bucket)
        with pytest.raises(InputError, match="is at work"):
            RunLock(bucket).acquire()
    assert not is_held(bucket)


def test_another_machine_is_believed_for_a_while(bucket):
    write_owner(bucket)
    with pytest.raises(InputError, match="process 1 on elsewhere"):
        RunLock(bucket).acquire()
    write_owner(bucket, time=time.time() - run_lock.STALE_SECONDS - 1)
    with RunLock(bucket):
        assert is_held(bucket)


def test_a_dead_process_of_this_machine_is_known_at_once(bucket):
    ended = subprocess.Popen(["true"])
    ended.wait()
    write_owner(bucket, host=platform.node(), pid=ended.pid)
    with RunLock(bucket):
        assert is_held(bucket)


def test_of_two_that_start_together_the_last_to_write_wins(bucket, monkeypatch):
    monkeypatch.setattr(run_lock.time, "sleep", lambda _: write_owner(bucket))
    with pytest.raises(InputError, match="process 1 on elsewhere"):
        RunLock(bucket).acquire()
