"""Asks for a TPU, waits for it, looks at it, and deletes it for certain."""

import contextlib
import shlex
import signal
import time

from tfbert.cloud import gcloud as cloud
from tfbert.cloud.gcloud import say
from tfbert.cloud.state import save
from tfbert.errors import InputError, TfbertError

READY = "READY"
ABSENT = "ABSENT"
UNKNOWN = "UNKNOWN"  # the question itself failed, the network perhaps
# States from which a TPU does not come back by itself.
LOST_STATES = (ABSENT, "PREEMPTED", "TERMINATED", "STOPPED", "STOPPING", "DELETING", "FAILED")
_QUEUE_LOST = ("FAILED", "SUSPENDING", "SUSPENDED", "DELETING")
_DELETE_ATTEMPTS = 6


class NotDeleted(TfbertError):
    """A TPU could not be deleted: it may be there, and cost."""


def create(gcloud, state, max_wait_hours):
    """Asks for a TPU and waits until it is ready.

    Args:
        gcloud: `Gcloud`.
        state: `State`; it is saved before anything is asked for.
        max_wait_hours: How long to wait for free capacity.

    Raises:
        InputError: If the request is refused for a reason that the user can mend.
        TfbertError: If there is no capacity for so long, or the request fails.
    """
    give_up = time.monotonic() + max_wait_hours * 3600
    if describe(gcloud, state, assumed=ABSENT) not in (ABSENT, UNKNOWN):
        raise _taken(state)
    state.requested = True
    save_unless_dry(gcloud, state)
    say(f"asking for {state.accelerator_type} in {state.zone}")
    request = _queued_request(gcloud, state) if state.queued else _direct_request(gcloud, state)
    while (result := gcloud.call(request)).status:
        if "ALREADY_EXISTS" in result.errors:
            state.requested = False  # it is another's: not to be deleted
            raise _taken(state)
        if not result.no_capacity:
            raise gcloud.explain(request, result)
        say(f"{state.zone} has no free {state.accelerator_type}; waiting")
        _pause(gcloud, give_up, f"{state.zone} had no free {state.accelerator_type} in time")
    if state.queued:
        _wait_in_queue(gcloud, state, give_up)
    while (found := describe(gcloud, state)) != READY:
        if found in LOST_STATES:
            raise TfbertError(f"the TPU {state.name} is {found} instead of READY")
        _pause(gcloud, give_up, f"the TPU {state.name} was not ready in time")
    state.ready_since = time.time()
    save_unless_dry(gcloud, state)
    say(f"{state.name} is ready: it costs about ${state.price_per_hour:.2f} an hour from now on")


def save_unless_dry(gcloud, state):
    """Saves the state, unless nothing is really done."""
    if not gcloud.dry_run:
        save(state)


def _taken(state):
    return InputError(
        f"--name {state.name}: {state.zone} has a TPU of that name, which was not made here: "
        "choose another name"
    )


def _direct_request(gcloud, state):
    return gcloud.tpus(
        "tpu-vm",
        "create",
        state.name,
        f"--accelerator-type={state.accelerator_type}",
        f"--version={state.runtime_version}",
        *(["--spot"] if state.spot else []),
        "--quiet",
    )


def _queued_request(gcloud, state):
    return gcloud.tpus(
        "queued-resources",
        "create",
        state.name,
        f"--node-id={state.name}",
        f"--accelerator-type={state.accelerator_type}",
        f"--runtime-version={state.runtime_version}",
        *(["--spot"] if state.spot else []),
        "--quiet",
    )


def _wait_in_queue(gcloud, state, give_up):
    told = None
    while (found := _queue_state(gcloud, state)) != "ACTIVE":
        if found in _QUEUE_LOST:
            raise TfbertError(f"the queued resource {state.name} is {found}: no TPU was given")
        if found != told:
            say(f"queued resource {state.name}: {found}")
            told = found
        _pause(gcloud, give_up, f"the queued resource {state.name} was not given in time")


def _queue_state(gcloud, state):
    arguments = gcloud.tpus(
        "queued-resources", "describe", state.name, "--format=value(state.state)"
    )
    result = gcloud.call(arguments, assumed="ACTIVE")
    return (result.output or UNKNOWN) if not result.status else UNKNOWN


def _pause(gcloud, give_up, message):
    if time.monotonic() > give_up:
        raise TfbertError(f"{message}: see --max-wait-hours")
    if not gcloud.dry_run:
        time.sleep(cloud.POLL_SECONDS)


def describe(gcloud, state, assumed=READY):
    """State of the TPU: `READY`, `PREEMPTED`, ..., `ABSENT` or `UNKNOWN`."""
    arguments = gcloud.tpus("tpu-vm", "describe", state.name, "--format=value(state)")
    result = gcloud.call(arguments, assumed)
    if result.absent:
        return ABSENT
    return UNKNOWN if result.status or not result.output else result.output


def delete(gcloud, state):
    """Deletes the TPU, and the queued resource that it came from, whatever it takes.

    Ctrl-C has no effect meanwhile. The state is kept if it fails.

    Raises:
        NotDeleted: If it may still be there.
    """
    kind, force = ("queued-resources", ["--force"]) if state.queued else ("tpu-vm", [])
    arguments = gcloud.tpus(kind, "delete", state.name, *force, "--quiet")
    with _undisturbed():
        say(f"deleting {state.name}")
        for attempt in range(_DELETE_ATTEMPTS):
            if attempt:
                time.sleep(cloud.POLL_SECONDS)
            result = gcloud.call(arguments)
            # A request that was cut short may bring the TPU up late: look twice.
            if (not result.status or result.absent) and _is_gone(gcloud, state):
                state.gone()
                save_unless_dry(gcloud, state)
                say(
                    f"{state.name} is deleted; {state.hours():.2f} hours, about ${state.cost():.2f}"
                )
                return
            reason = result.errors.splitlines()[-1:] if result.status else []
            say(f"deleting failed: {''.join(reason) or 'it is still there'}")
    raise NotDeleted(
        f"THE TPU {state.name} IS NOT DELETED and may cost ${state.price_per_hour:.2f} an hour. "
        f"Delete it by hand: {shlex.join(['gcloud', *arguments])}"
    )


def _is_gone(gcloud, state):
    if gcloud.dry_run:
        return True
    if describe(gcloud, state) != ABSENT:
        return False
    time.sleep(cloud.POLL_SECONDS)
    return describe(gcloud, state) == ABSENT


@contextlib.contextmanager
def _undisturbed():
    def still_deleting(number, frame):
        say("still deleting the TPU; this has to end first")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, still_deleting) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
