"""What `fit(..., recovery=...)` takes to make a run that cannot be lost."""

import dataclasses
from typing import Literal

from tfbert.options import Options, require, require_at_least


@dataclasses.dataclass(frozen=True)
class Recovery(Options):
    """How a run is saved, and how it goes on after a kill, a preemption or a divergence.

    A run whose directory holds checkpoints goes on from the newest sound one; a finished one is
    brought back and not trained any further. Another run needs another directory.

    The process may be killed at any moment. SIGTERM makes it save after the execution that is
    under way, and end with status 75 (`tfbert.training.preemption.Preempted`).

    Args:
        directory: Folder of the checkpoints, local or `gs://`.
        every_steps: Updates from one checkpoint to the next; None goes by time alone.
        every_minutes: Minutes after which one is due in any case. Each end of an epoch has one,
            too.
        keep: How many of them to keep.
        monitor: Name in an epoch's logs, such as `val_loss`, by which the best checkpoint is
            chosen; it is kept beside the last ones. None keeps no best one.
        mode: Whether the least or the greatest value of it is the best.
        on_nan: When the run diverges, `stop` ends it; `rollback` goes back to the newest
            checkpoint and leaves out the batches that it diverged in.
        max_rollbacks: How many times at most.
        fingerprint: Names and values, for JSON, that must be the same when the run is resumed.
        first_update: Updates of earlier `fit`s of the same run; this one's are counted from there.
        earlier: Folders with the checkpoints of these `fit`s, the oldest first. Of all folders
            together the last `keep` checkpoints stay.

    Raises:
        InputError: If a value is out of its range.

    Example:

    ```python
    model.fit(data, epochs=3, recovery=tfbert.Recovery("runs/a/checkpoints", every_steps=1000))
    ```
    """

    directory: str
    every_steps: int | None = None
    every_minutes: float = 15.0
    keep: int = 2
    monitor: str | None = None
    mode: Literal["min", "max"] = "min"
    on_nan: Literal["stop", "rollback"] = "stop"
    max_rollbacks: int = 3
    fingerprint: dict = dataclasses.field(default_factory=dict)
    first_update: int = 0
    earlier: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "every_steps", "keep", "max_rollbacks")
        require_at_least(self, 0, "first_update")
        require(self.every_minutes > 0, "every_minutes", self.every_minutes, "above 0")
