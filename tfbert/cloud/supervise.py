"""`run`: a TPU from its beginning to its end, whatever happens in between."""

import contextlib
import signal
import time

from tfbert.cloud import gcloud as cloud
from tfbert.cloud import job, tpu
from tfbert.cloud.gcloud import say
from tfbert.cloud.state import forget
from tfbert.errors import TfbertError

_LOST_JOBS = 3  # times that a command which vanished on a sound machine is started again


class _Preempted(Exception):
    """The TPU was taken away."""


class _LimitReached(TfbertError):
    """Money or time is used up."""


def run(gcloud, state, max_wait_hours, keep):
    """Makes a TPU where there is none, runs the state's command to its end, deletes the TPU.

    A TPU that is taken away is made anew, and the command started again: it goes on from its last
    checkpoint.

    Args:
        gcloud: `Gcloud`.
        state: `State`.
        max_wait_hours: See `tpu.create`.
        keep: Leave the TPU, which costs until it is deleted, unless a limit is reached.

    Returns:
        The exit status: the command's own, 130 after Ctrl-C.

    Raises:
        TfbertError: After the TPU is deleted, what stopped it; `NotDeleted` before all others.
    """
    with _signals(), _deleting(gcloud, state, keep):
        log = None
        while True:
            try:
                if log is None:
                    _bring_up(gcloud, state, max_wait_hours)
                    log = job.Log(gcloud, state)
                status = _watch(gcloud, state, log)
            except _Preempted:
                say(f"{state.name} was taken away; asking for another one")
                tpu.delete(gcloud, state)
                log = None
                continue
            say(f"tfbert ended with status {status}")
            return status


def create(gcloud, state, max_wait_hours):
    """As `tpu.create`; a request that fails or is stopped leaves nothing behind."""
    try:
        with _signals():
            tpu.create(gcloud, state, max_wait_hours)
    except BaseException:
        clean_up(gcloud, state)
        raise


def clean_up(gcloud, state):
    """Deletes the TPU, if one was asked for, and forgets it."""
    while state.requested:
        # Ctrl-C just before it takes no effect counts, too.
        with contextlib.suppress(KeyboardInterrupt):
            tpu.delete(gcloud, state)
    if not gcloud.dry_run:
        forget(state)


def follow(gcloud, state):
    """Shows the command's output until it ends, and reconnects; the TPU stays.

    Returns:
        The command's exit status.

    Raises:
        TfbertError: If the TPU or the command is gone.
    """
    try:
        return _watch(gcloud, state, job.Log(gcloud, state))
    except _Preempted:
        raise TfbertError(
            f"{state.name} was taken away; `run` makes another one and goes on"
        ) from None


@contextlib.contextmanager
def _signals():
    """A lost terminal changes nothing; a request to end is as Ctrl-C."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = [
        (number, signal.signal(number, handler))
        for number, handler in (
            (signal.SIGHUP, signal.SIG_IGN),
            (signal.SIGTERM, interrupt),
            (signal.SIGINT, interrupt),
        )
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def _deleting(gcloud, state, keep):
    try:
        yield
    except KeyboardInterrupt:
        say("stopped")
        raise
    except _LimitReached:
        keep = False  # the limit is of what it may cost
        raise
    finally:
        if not keep:
            clean_up(gcloud, state)
        elif state.requested:
            say(
                f"{state.name} stays and costs about ${state.price_per_hour:.2f} an hour: "
                f"`cloud_tpu.py delete --name {state.name}` ends it"
            )


def _bring_up(gcloud, state, max_wait_hours):
    _check_limits(state)
    if state.requested and tpu.describe(gcloud, state) == tpu.READY:
        if job.job_status(gcloud, state) not in (None, "none", "lost"):
            return
    else:
        if state.requested:
            tpu.delete(gcloud, state)  # what an earlier `run` left half-way
        tpu.create(gcloud, state, max_wait_hours)
    try:
        job.set_up(gcloud, state)
        _check_limits(state)
        job.start(gcloud, state)
    except TfbertError:
        if tpu.describe(gcloud, state) in tpu.LOST_STATES:
            raise _Preempted from None
        raise


def _check_limits(state):
    if reached := state.limit_reached():
        raise _LimitReached(
            f"{reached}: {state.hours():.2f} hours, about ${state.cost():.2f}; the same command "
            "goes on from the last checkpoint"
        )


def _watch(gcloud, state, log):
    """Returns the exit status of the command; raises `_Preempted`."""

    def look():
        _check_limits(state)
        if tpu.describe(gcloud, state) in tpu.LOST_STATES:
            raise _Preempted

    lost = 0
    while True:
        status = log.follow(look)
        if status == "ended 0":
            return 0
        # A TPU that is taken away takes the command along: its end may be seen before the cause.
        if status is None or status.startswith("ended"):
            time.sleep(cloud.POLL_SECONDS)
        look()
        if status is None:
            say("the connection was lost; connecting again (tfbert runs on)")
        elif status.startswith("ended"):
            return int(status.split()[1])
        elif status == "none":
            raise TfbertError(f"no command was started on {state.name}")
        elif status == "lost":
            lost += 1
            if lost > _LOST_JOBS:
                raise TfbertError("tfbert vanished again and again, for want of memory perhaps")
            say("tfbert vanished, the machine was started anew perhaps; starting it again")
            job.start(gcloud, state)
            log.restart()
