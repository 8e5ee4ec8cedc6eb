"""Checkpoints of a run in phases: each `fit` has a folder of its own, `phase-1`, `phase-2`, ...

A phase ends with a checkpoint, from which the next one begins. The updates in the checkpoints'
names are those of the run, over all phases.
"""

from tfbert.recovery.checkpoint_files import phase_folder
from tfbert.recovery.checkpoints import Checkpoints


def phase_to_go_on_with(directory, count):
    """The last phase with a sound checkpoint, counted from 0; without any, the first phase.

    Args:
        directory: Folder of the phases' folders.
        count: How many phases the run has.
    """
    for number in range(count - 1, 0, -1):
        if Checkpoints(phase_folder(directory, number)).newest() is not None:
            return number
    return 0


def recovery_of_phase(config, directory, number, fingerprint):
    """The `Recovery` of one phase's `fit`.

    The last checkpoints of the phase before stay until this phase has as many of its own as
    `--keep-checkpoints` says, so that there is one to go back to if its first ones are damaged.

    Args:
        config: A `PretrainConfig`.
        directory: Folder of the phases' folders.
        number: The phase, counted from 0.
        fingerprint: As in `Recovery`.
    """
    return config.recovery(
        phase_folder(directory, number),
        first_update=sum(phase.steps for phase in config.scaled_phases()[:number]),
        earlier=[phase_folder(directory, earlier) for earlier in range(number)],
        fingerprint=fingerprint,
    )
