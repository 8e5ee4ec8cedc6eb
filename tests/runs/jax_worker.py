"""Runs on JAX in a process of its own, in which there is no TensorFlow.

    python jax_worker.py pretrain|finetune OPTIONS.json RESULT.json [UPDATE]

With UPDATE, it is told to stop after so many updates.
"""

import importlib.metadata
import json
import os
import signal
import sys

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"


class _NoTensorFlow:
    """An entry of `sys.meta_path`: TensorFlow is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "tensorflow_text"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


# Earlier ones cannot be imported without.
if tuple(map(int, importlib.metadata.version("keras-hub").split(".")[:2])) >= (0, 32):
    sys.meta_path.insert(0, _NoTensorFlow)


def main(command, options_path, result_path, update=None):
    """Runs a command, and writes its metrics and how often each `fit` compiled."""
    from tfbert.recovery.preemption import Preempted

    run, config_class, curves = _parts(command)
    with open(options_path, encoding="utf-8") as file:
        config = config_class(**json.load(file))
    compilations = _counted()
    if update is not None:
        _stop_after(curves, int(update))
    try:
        result = {"metrics": run(config).metrics}
    except Preempted as error:
        result = {"preempted": str(error)}
    result |= {"compilations": compilations, "tensorflow": "tensorflow" in sys.modules}
    with open(result_path, "w", encoding="utf-8") as file:
        json.dump(result, file)


def _parts(command):
    """What runs a command, the class of its options, and of the callback of its curves."""
    if command == "pretrain":
        from tfbert.recipes.pretrain_options import PretrainConfig
        from tfbert.runs.outputs.pretrain_callbacks import PretrainingCurves
        from tfbert.runs.pretrain import pretrain

        return pretrain, PretrainConfig, PretrainingCurves
    from tfbert.runs.command_options import FinetuneConfig
    from tfbert.runs.finetune import finetune
    from tfbert.runs.outputs.callbacks import TensorBoardCurves

    return finetune, FinetuneConfig, TensorBoardCurves


def _counted():
    """A list that gets, after each `fit`, how many training programs were compiled for it."""
    from tfbert.fit.trainer import DistributedTrainer

    compilations, fit = [], DistributedTrainer.fit

    def counted(self, *args, **kwargs):
        history = fit(self, *args, **kwargs)
        compilations.append(self.train_function.compilations)
        return history

    DistributedTrainer.fit = counted
    return compilations


def _stop_after(callback, update):
    original = callback.on_train_batch_end

    def stopped(self, batch, logs=None):
        original(self, batch, logs)
        if int(self.model.optimizer.iterations) == update:
            os.kill(os.getpid(), signal.SIGTERM)

    callback.on_train_batch_end = stopped


if __name__ == "__main__":
    main(*sys.argv[1:])
