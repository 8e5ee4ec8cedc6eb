"""What must be remembered of a TPU, so that a later command finds it again: a small JSON file."""

import dataclasses
import os
import time
from pathlib import Path

from tfbert.errors import InputError
from tfbert.io.whole import read_json, write_json


@dataclasses.dataclass
class State:
    """A TPU that was asked for.

    Args:
        name: Its name, that of the file, and that of the queued resource.
        project: Google Cloud project.
        zone: Its zone.
        accelerator_type: Such as `v5litepod-4`.
        runtime_version: The image that it starts.
        spot: Whether it may be taken away at any time, at a lower price.
        queued: Whether it is asked for by a queued resource.
        price_per_hour: US dollars, an estimate.
        max_hours: Hours after which `run` deletes it, all its lives together.
        max_cost: The same in US dollars.
        command: Arguments of the `tfbert` command on it.
        requested: Whether it may exist and cost something.
        ready_since: Time at which the present one was ready, in seconds, or None.
        earlier_seconds: How long earlier ones, which were preempted, lived.
    """

    name: str
    project: str
    zone: str
    accelerator_type: str
    runtime_version: str
    spot: bool
    queued: bool
    price_per_hour: float
    max_hours: float | None = None
    max_cost: float | None = None
    command: list = dataclasses.field(default_factory=list)
    requested: bool = False
    ready_since: float | None = None
    earlier_seconds: float = 0.0

    def hours(self):
        """Hours for which it was there, all its lives together."""
        present = time.time() - self.ready_since if self.ready_since else 0.0
        return (self.earlier_seconds + present) / 3600

    def cost(self):
        """US dollars so far, an estimate."""
        return self.hours() * self.price_per_hour

    def gone(self):
        """Notes that it is there no more."""
        self.earlier_seconds = self.hours() * 3600
        self.ready_since = None
        self.requested = False

    def limit_reached(self):
        """Which of the limits is reached, in words, or None."""
        if self.max_hours is not None and self.hours() >= self.max_hours:
            return f"--max-hours {self.max_hours:g} is reached"
        if self.max_cost is not None and self.cost() >= self.max_cost:
            return f"--max-cost {self.max_cost:g} is reached"
        return None


def state_file(name):
    """Where the state of a TPU is kept: `~/.config/tfbert/cloud/NAME.json`."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "tfbert" / "cloud" / f"{name}.json"


def save(state):
    """Writes the state of a TPU."""
    path = state_file(state.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dataclasses.asdict(state))


def load(name):
    """Reads the state of a TPU.

    Raises:
        InputError: If none of that name was made from here, or the file is damaged.
    """
    path = state_file(name)
    if not path.exists():
        raise InputError(f"--name {name}: no TPU of that name was made from here (no {path})")
    try:
        return State(**read_json(path))
    except TypeError as error:
        raise InputError(f"{path}: damaged ({error}); delete the TPU by hand") from error


def forget(state):
    """Removes the file of a TPU that is there no more."""
    state_file(state.name).unlink(missing_ok=True)
