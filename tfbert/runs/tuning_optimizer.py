"""The optimizer of a fine-tuning, and its rate where none is given."""

import math
from typing import Any

import keras

from tfbert.fit.compilation import make_optimizer
from tfbert.optimizers.application import ReducingOptimizer
from tfbert.optimizers.options import NORMS_AND_BIASES
from tfbert.runs.command_options import FinetuneConfig
from tfbert.tasks.known_tasks import Task
from tfbert.tasks.tokens.batch_sources import TrainingBatches

_LAMB_RATE, _ITS_BATCH = 1e-3, 32
HEAD = "(^|/)logits/kernel$"


def usual_rate(config: FinetuneConfig, task: Task, batches: TrainingBatches) -> float:
    """The task's rate, which is Adam's; LAMB's follows from the batch alone.

    Adam moves each weight by about its rate, LAMB by its rate as a share of the weights' norm:
    5e-5 is 1e-3 of BERT's weights, which are some 0.05. With the batch the rate rises by the square
    root, as in the paper's untuned LAMB.
    """
    if config.optimizer != "lamb":
        return task.learning_rate
    rows: float = config.global_batch_size
    if config.tokens_per_batch:
        rows = len(batches.texts) / batches.steps_per_epoch
    return float(f"{_LAMB_RATE * math.sqrt(rows / _ITS_BATCH):.2g}")


def tuning_optimizer(
    config: FinetuneConfig, model: keras.Model, learning_rate: Any
) -> ReducingOptimizer:
    """AdamW or LAMB for a model with its head.

    LAMB does not adapt its rate to the head's kernel, as it does not to norms and biases: a new
    head is random, and its norm does not tell how far it has to go. Adapted, it would hardly grow
    in the few updates of a fine-tuning.

    Args:
        learning_rate: A number or a schedule.
    """
    options = {}
    if config.optimizer == "lamb":
        options["exclude_from_layer_adaptation"] = [*NORMS_AND_BIASES, HEAD]
    return make_optimizer(
        config.optimizer,
        model,
        learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm or None,
        **options,
    )
