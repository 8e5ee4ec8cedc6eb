"""What `fit(..., recovery=...)` takes to make a run that cannot be lost."""

import dataclasses
import os
from typing import Annotated, Any, Literal

from tfbert.options import Count, Options, Positive, at_least, require


@dataclasses.dataclass(frozen=True)
class Recovery(Options):
    """How a run is saved, and how it goes on after a kill, a preemption or a divergence.

    A run whose directory holds checkpoints goes on from the newest undamaged one; a finished run
    is restored and not trained further. Another run needs another directory.

    The process may be killed at any moment. SIGTERM makes it save after the current execution and
    exit with status 75 (`tfbert.recovery.preemption.Preempted`).

    Args:
        directory: Folder of the checkpoints, local or `gs://`.
        every_steps: Updates from one checkpoint to the next; None for by time alone.
        every_minutes: Minutes after which one is due in any case. Each end of an epoch has one as
            well.
        keep: How many of them to keep.
        monitor: Name in an epoch's logs, such as `val_loss`, by which the best checkpoint is
            chosen; it is kept in addition to the last ones. None keeps no best one.
        mode: Whether the lowest or the highest value of it is the best.
        on_nan: When the run diverges, `stop` ends it; `rollback` goes back to the newest
            checkpoint and leaves out the batches in which it diverged.
        max_rollbacks: How many times at most.
        fingerprint: Names and values, for JSON, that must be the same when the run is resumed.
        first_update: Updates of earlier `fit`s of the same run, from which this one counts on.
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
    every_steps: Count | None = None
    every_minutes: Positive = 15.0
    keep: Count = 2
    monitor: str | None = None
    mode: Literal["min", "max"] = "min"
    on_nan: Literal["stop", "rollback"] = "stop"
    max_rollbacks: Count = 3
    fingerprint: dict = dataclasses.field(default_factory=dict)
    first_update: Annotated[int, at_least(0)] = 0
    earlier: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """What all training commands have in common: how a run is saved, goes on and is replaced.

    Args:
        checkpoint_steps: Updates from one checkpoint to the next; without it they go by time.
        checkpoint_minutes: Minutes after which a checkpoint is due in any case; each end of an
            epoch (of `pretrain`: each evaluation) has one as well.
        keep_checkpoints: How many of the last checkpoints to keep, in addition to the best one.
        on_nan: When training diverges, `stop`, or `rollback` to the last checkpoint and go on
            without the batches in which it diverged.
        max_rollbacks: How many times at most.
        resume: Go on with the unfinished run in the output directory, with its own options where
            none are given. A run with the same options goes on without this option as well.
        overwrite: Replace a run that is already in the output directory.
    """

    checkpoint_steps: Count | None = None
    checkpoint_minutes: Positive = 15.0
    keep_checkpoints: Count = 2
    on_nan: Literal["stop", "rollback"] = "stop"
    max_rollbacks: Count = 3
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        both = self.resume and self.overwrite
        require(not both, "resume", self.resume, "left out with --overwrite")

    def recovery(self, directory: str | os.PathLike[str], **options: Any) -> Recovery:
        """The `Recovery` of a `fit`.

        Args:
            directory: Folder of the checkpoints.
            **options: Further arguments of `Recovery`.
        """
        return Recovery(
            str(directory),
            self.checkpoint_steps,
            self.checkpoint_minutes,
            self.keep_checkpoints,
            on_nan=self.on_nan,
            max_rollbacks=self.max_rollbacks,
            **options,
        )
