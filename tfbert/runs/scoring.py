"""A trained model's outputs for examples, and their metrics."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfbert.fit.inference import gains_side_by_side, side_by_side
from tfbert.hardware.memory import out_of_memory_advice
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.hardware.strategies import backend, has_one_shape
from tfbert.models.layers import short_forms
from tfbert.models.trained_model import HeadedModel, TrainedModel, load_model
from tfbert.runs.outputs.callbacks import ProgressBar
from tfbert.tasks.examples import Examples
from tfbert.tasks.known_problems import problem_class
from tfbert.tasks.problem import Outputs
from tfbert.tasks.tokens.batch_sources import prediction_dataset, prediction_inputs
from tfbert.tasks.tokens.batching import LengthBatches, padded_length, padded_lengths
from tfbert.tasks.tokens.encoded import EncodedExamples
from tfbert.tasks.tokens.long_texts import mean_by_example
from tfbert.tasks.tokens.tokenization import TokenizedTexts

log = logging.getLogger("tfbert")

# Tokens, padding included, of batches that are computed side by side on a CPU, and how many of them
# at a time: on two cores three are fastest. Larger ones gain less, and need memory.
_SMALL, _SMALL_AT_A_TIME = 4096, 3


def open_model(source: str, precision: str) -> TrainedModel:
    """`load_model` of a model that is only used; `precision` as in `choose_precision`."""
    return load_model(source, policy_of(choose_precision(precision)))


def policy_of(precision: str) -> str:
    """Keras' dtype policy of an encoder that is only used, for a chosen precision.

    In bfloat16 on a CPU the weights are rounded once, where `mixed_bfloat16` rounds them in each
    batch: the outputs are the same bits.
    """
    rounds = precision == "bfloat16" and short_forms.are_taken(precision)
    return precision if rounds else POLICIES[precision]


def evaluate_examples(
    trained: TrainedModel,
    examples: Examples,
    batch_size: int,
    progress: bool,
    token_cache: str = "memory",
    tells_cut: bool = False,
) -> dict[str, Any]:
    """The metrics of a model on labelled examples: what its problem measures, and its name.

    Args:
        trained: Its model may be distributed.
        batch_size: Rows of tokens a step, over all replicas together.
        token_cache: As in `EvaluateConfig`.
        tells_cut: Whether the log says what was cut off the texts.

    Raises:
        InputError: If a label is not one of the model's.
    """
    problem = trained.problem
    encoded = problem.encode(trained.tokenizer, examples, trained.max_length, token_cache)
    if tells_cut and encoded.cut:
        log.info("%s", encoded.cut)
    title = "evaluating" if progress else None
    outputs = predict_examples(trained, encoded, batch_size, title)
    metrics = {"problem": problem.name, **problem.measure(outputs, encoded, examples)}
    for remark in problem.remarks(outputs, examples, metrics):
        log.info("%s", remark)
    return metrics


def metrics_table(metrics: dict[str, Any]) -> str:
    """The metrics as lines of text, those of further evaluations below the first."""
    table = problem_class(metrics["problem"]).table
    further = {
        name: value
        for name, value in metrics.items()
        if isinstance(value, dict) and "problem" in value
    }
    return "\n".join([table(metrics), *(f"{name}: {table(further[name])}" for name in further)])


def predict_examples(
    trained: TrainedModel,
    encoded: EncodedExamples,
    batch_size: int,
    title: str | None = None,
    interrupts: Callable[[], bool] | None = None,
) -> Outputs:
    """What a problem makes its results of: `predict_outputs`, but one row for each example.

    A text that was read in parts has the mean of their logits. Of a head on tokens, the rows stay
    as they are.
    """
    outputs = predict_outputs(trained, encoded.texts, batch_size, title, interrupts)
    return outputs if trained.problem.head == "tokens" else mean_by_example(outputs, encoded)


def predict_outputs(
    trained: TrainedModel,
    texts: TokenizedTexts,
    batch_size: int,
    title: str | None = None,
    interrupts: Callable[[], bool] | None = None,
) -> Outputs:
    """The head's outputs for tokenized texts, in their order.

    Args:
        trained: Its model may be distributed.
        batch_size: Texts a step, over all replicas together.
        title: Title of the progress bar; None shows none.
        interrupts: Where it returns True, prediction ends, and the outputs are not complete.

    Returns:
        (texts, outputs) float32; of a head on tokens, a (tokens, outputs) array for each text.

    Raises:
        MachineError: If memory is exhausted.
    """
    count = len(texts)
    if 0 < count < batch_size and not has_one_shape(trained.model.distribute_strategy):
        # Every number of rows has programs of its own (see `tfbert.models.layers.kernels.fused`): a
        # service that gets a few texts at a time must not make them for each number.
        batch_size = min(batch_size, 1 << (count - 1).bit_length())
        texts = texts.filled_up(batch_size)
    rows = fixed_rows(trained, batch_size)
    # Batches of as many texts as rows: only the last one may be filled up.
    batches = LengthBatches(texts.lengths, rows or batch_size)
    lengths = batch_lengths(trained, trained.model.jit_compile)
    with out_of_memory_advice(batch_size, trained.max_length):
        if batches.steps == 1 and not title:
            (positions,) = batches.epoch(0)
            inputs = prediction_inputs(texts, positions, lengths, rows)
            found = trained.model.predict_on_batch(inputs)
        else:
            callbacks: list[keras.callbacks.Callback] = []
            if title:
                callbacks.append(ProgressBar(count, batch_size, title))
            if interrupts:
                callbacks.append(_Interrupted(interrupts))
            if gains_side_by_side(trained.model):
                found = _side_by_side(trained.model, texts, batches, lengths, callbacks)
            else:
                dataset = prediction_dataset(texts, batches, lengths, rows)
                found = trained.model.predict(dataset, verbose=0, callbacks=callbacks)
    if trained.problem.head == "tokens":
        width = trained.problem.outputs
        return _rows_of_tokens(found, width, texts, batches.epoch(0), lengths)[:count]
    outputs = np.empty((len(texts), found.shape[-1]), np.float32)
    order = np.concatenate(batches.epoch(0))[: len(found)]
    outputs[order] = found[: len(order)]
    return outputs[:count]


def _side_by_side(
    model: HeadedModel,
    texts: TokenizedTexts,
    batches: LengthBatches,
    lengths: np.ndarray,
    callbacks: list[keras.callbacks.Callback],
) -> np.ndarray | list[np.ndarray]:
    """`predict` of the batches, small ones side by side; of a head on tokens a list of outputs."""
    positions = batches.epoch(0)
    sizes = [len(rows) * padded_length(texts.lengths[rows], lengths) for rows in positions]
    large = sum(size > _SMALL for size in sizes)  # which come first

    def make(number: int) -> dict[str, np.ndarray]:
        return prediction_inputs(texts, positions[number], lengths)

    called = keras.callbacks.CallbackList(callbacks, model=model)
    model.stop_predicting = False
    called.on_predict_begin()
    found: list[np.ndarray] = []
    for numbers, at_a_time in (
        (range(large), 1),
        (range(large, len(positions)), _SMALL_AT_A_TIME),
    ):
        with contextlib.closing(side_by_side(model, make, numbers, at_a_time)) as outputs:
            for output in outputs:
                called.on_predict_batch_begin(len(found))
                found.append(output)
                called.on_predict_batch_end(len(found) - 1)
                if model.stop_predicting:
                    break
        if model.stop_predicting:
            break
    called.on_predict_end()
    return found if found[0].ndim > 2 else np.concatenate(found)


class _Interrupted(keras.callbacks.Callback):
    """Ends a prediction where a function says so."""

    def __init__(self, interrupts: Callable[[], bool]) -> None:
        super().__init__()
        self._interrupts = interrupts

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._interrupts():
            self.model.stop_predicting = True


def _rows_of_tokens(
    found: Any,
    width: int,
    texts: TokenizedTexts,
    batches: list[np.ndarray],
    lengths: np.ndarray,
) -> list[np.ndarray]:
    """What a head on tokens gave, (padded tokens, outputs) for each text, without the padding.

    Args:
        found: (texts, length, width), or where lengths differ a ragged tensor, on JAX and side by
            side a list of such arrays, one a batch.
    """
    if isinstance(found, list):
        found = np.concatenate([np.reshape(part, (-1, width)) for part in found])
    elif hasattr(found, "flat_values"):
        found = found.flat_values.numpy()
    flat = np.reshape(found, (-1, width))
    rows: list[np.ndarray] = [np.empty((0, width), np.float32)] * len(texts)
    begin = 0
    for positions in batches:
        length = padded_length(texts.lengths[positions], lengths)
        for position in positions:
            rows[position] = flat[begin : begin + texts.lengths[position]]
            begin += length
    return rows


def batch_lengths(
    trained: TrainedModel, jit_compile: bool, only_longest: bool = False
) -> np.ndarray:
    """The lengths that a model's batches may be padded to.

    Args:
        jit_compile: Whether XLA compiles its steps: then the lengths are few, as it makes a program
            for each.
        only_longest: Whether all batches are padded to the longest text that the model takes. On
            a TPU under TensorFlow they are in any case, as it takes batches of one shape only.

    Returns:
        (lengths,) ascending.
    """
    if only_longest or has_one_shape(trained.model.distribute_strategy):
        return np.array([trained.max_length])
    return padded_lengths(trained.max_length, few=jit_compile or backend() == "jax")


def fixed_rows(trained: TrainedModel, batch_size: int) -> int | None:
    """The rows that every batch must have, or None where they may differ.

    On a TPU under TensorFlow all batches have one shape, which its cores can share. On JAX every
    number of rows is a program of its own, and the devices share them.
    """
    if backend() != "jax" and not has_one_shape(trained.model.distribute_strategy):
        return None
    cores = trained.model.distribute_strategy.num_replicas_in_sync
    return -(-batch_size // cores) * cores
