"""How a training command starts: on what, in which directory, anew or from where it was."""

import dataclasses
import os
import tempfile

from tfbert.hardware.strategies import get_strategy, is_chief
from tfbert.runs.run_directory import RunDirectory


def start(train, config):
    """Calls what trains with the devices and the run directory of this process.

    Args:
        train: Function of a configuration, a strategy, a `RunDirectory` and whether the run in it
            goes on.
        config: Configuration of a training command, see `RunOptions`.

    Returns:
        What `train` returns.

    Raises:
        InputError: If there is another run in the directory, or no such devices.
    """
    if "TF_CONFIG" in os.environ:
        strategy = get_strategy(config.strategy, config.replicas)
        if not is_chief(strategy):
            # The other workers do the same work, and write where nobody looks.
            with tempfile.TemporaryDirectory() as scratch:
                silent = dataclasses.replace(config, progress=False)
                return train(silent, strategy, RunDirectory(scratch), False)
    run = RunDirectory(config.output)
    resumes = run.resumes(config)
    if not resumes:
        run.check_free(config.overwrite)
    return train(config, get_strategy(config.strategy, config.replicas), run, resumes)
