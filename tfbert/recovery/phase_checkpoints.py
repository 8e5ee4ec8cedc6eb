"""Checkpoints of a run in phases: each `fit` has a folder of its own, `phase-1`, `phase-2`, ...

A phase ends with a checkpoint, from which the next one begins. The updates in the checkpoints'
names are those of the run, over all phases.
"""

from collections.abc import Sequence
from typing import Any

from tfbert.io.paths import AnyPath
from tfbert.recovery.checkpoint_files import phase_folder
from tfbert.recovery.checkpoints import Checkpoints
from tfbert.recovery.recovery_options import Recovery, RunOptions


def phase_to_resume(directory: AnyPath, count: int) -> int:
    """The last phase with a sound checkpoint, counted from 0; without any, the first phase.

    Args:
        directory: Folder of the phases' folders.
        count: How many phases the run has.
    """
    for number in range(count - 1, 0, -1):
        if Checkpoints(phase_folder(directory, number)).newest() is not None:
            return number
    return 0


def recovery_of_phase(
    options: RunOptions,
    directory: AnyPath,
    number: int,
    steps: Sequence[int],
    fingerprint: dict[str, Any],
) -> Recovery:
    """The `Recovery` of one phase's `fit`.

    The last checkpoints of the phase before are kept until this phase has as many of its own as
    `--keep-checkpoints` says, in case its first ones are damaged.

    Args:
        directory: Folder of the phases' folders.
        number: The phase, counted from 0.
        steps: Updates of each phase of the run.
        fingerprint: As in `Recovery`.
    """
    return options.recovery(
        phase_folder(directory, number),
        first_update=sum(steps[:number]),
        earlier=[str(phase_folder(directory, earlier)) for earlier in range(number)],
        fingerprint=fingerprint,
    )
