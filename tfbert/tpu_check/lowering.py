"""From a phase of a recipe to what the TPU's compiler takes: a process of its own.

    python -m tfbert.tpu_check.lowering REQUEST.json FOLDER

writes `module.hlo`, XLA's serialized module, and `lowered.json` into the folder. Nothing is
trained: the weights are made, the step is traced and lowered. The process has ended, and its memory
is free, before the compiler needs as much.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfbert.recipes.pretrain_options import PretrainConfig

if TYPE_CHECKING:
    import tensorflow as tf

    from tfbert.models.pretrainer import BertPretrainer

MODULE_FILE = "module.hlo"
EXPORTED_FILE = "module.exported"  # of `tfbert.tpu_check.jax_lowering`
RESULT_FILE = "lowered.json"


@dataclasses.dataclass(frozen=True)
class Request:
    """A program to lower.

    Args:
        recipe: Also as the dictionary of its fields.
        phase: Which of its phases, from 0.
        cores: Replicas of the whole training.
        rows: Sequences that a core has of each batch.
        accumulate_steps: Micro-batches that it computes them in.
        predictions: Masked tokens a sequence.
        vocabulary_size: Word pieces.
        next_sentence: Whether there is a next-sentence head.
        backend: What Keras runs on.
    """

    recipe: PretrainConfig
    phase: int
    cores: int
    rows: int
    accumulate_steps: int
    predictions: int
    vocabulary_size: int
    next_sentence: bool
    backend: str = "tensorflow"

    def __post_init__(self) -> None:
        if isinstance(self.recipe, dict):
            object.__setattr__(self, "recipe", PretrainConfig(**self.recipe))


def make_program(
    request: Request,
) -> tuple[BertPretrainer, tf.types.experimental.PolymorphicFunction, list[tf.TensorSpec]]:
    """(model, training step of one core as a `tf.function` of its part of a batch, arguments)."""
    import tensorflow as tf

    from tfbert.recipes.phase_model import make_phase_model
    from tfbert.tpu_check.core_strategy import OneCoreStrategy

    strategy = OneCoreStrategy(request.cores)
    with strategy.scope():
        model = make_phase_model(
            request.recipe,
            request.phase,
            request.vocabulary_size,
            request.next_sentence,
            request.accumulate_steps,
        )
    spec = model._prepare(_zeros(request)).spec
    step = model.make_train_function().step

    @tf.function(jit_compile=True, autograph=False)
    def program(*tensors: tf.Tensor) -> None:
        strategy.run(step, args=(tf.nest.pack_sequence_as(spec, tensors),))

    return model, program, [tf.TensorSpec(t.shape, t.dtype) for t in tf.nest.flatten(spec)]


def lower(request: Request) -> tuple[bytes, int]:
    """The training step of one core as an HLO module.

    Returns:
        (serialized HLO module, bytes of variables that the program does not use but that are in
        the memory of a core).

    Raises:
        NotImplementedError: If XLA cannot lower an operation, which the message names.
    """
    model, program, specs = make_program(request)
    unused_bytes = _unused_bytes(model, program.get_concrete_function(*specs))
    return lowered(program, specs), unused_bytes


def lowered(
    program: tf.types.experimental.PolymorphicFunction, specs: list[tf.TensorSpec]
) -> bytes:
    """A `tf.function` that XLA compiles, as a serialized HLO module; raises as `lower` does."""
    import tensorflow as tf

    get_module = program.experimental_get_compiler_ir(*specs)
    try:
        return get_module(stage="hlo_serialized")
    except (ValueError, tf.errors.OpError) as error:
        raise NotImplementedError(unsupported_operation(str(error))) from error


def _unused_bytes(model: BertPretrainer, function: tf.types.experimental.ConcreteFunction) -> int:
    """Bytes of the variables that are on a core and that a concrete function does not take."""
    used = {id(handle) for handle in function.captured_inputs}
    variables = {id(v): v.value for v in (*model.variables, *model.optimizer.variables)}
    return sum(
        v.dtype.size * v.shape.num_elements()
        for v in variables.values()
        if id(v.handle) not in used
    )


def _zeros(request: Request) -> tf.data.Dataset:
    """A dataset of batches of the right shapes, which are never read."""
    import tensorflow as tf

    from tfbert.records.batches import examples_of

    phase = request.recipe.scaled_phases()[request.phase]
    batch = request.rows * request.cores
    tokens, masks = (batch, phase.sequence_length), (batch, request.predictions)

    def make(_: tf.Tensor) -> Any:
        shapes = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), tokens)
        shapes |= dict.fromkeys(("mask_positions", "mask_ids"), masks)
        records = {name: tf.zeros(shape, tf.int32) for name, shape in shapes.items()}
        records["mask_weights"] = tf.zeros(masks, tf.float32)
        if request.next_sentence:
            records["next_sentence_labels"] = tf.zeros((batch,), tf.int32)
        return examples_of(records)

    return tf.data.Dataset.range(1).map(make)


def unsupported_operation(message: str) -> str:
    """What TensorFlow says of an operation that XLA cannot lower, in one line."""
    found = re.findall(r"(\w+) \(No registered '\w+' OpKernel for XLA", message)
    if found:
        return ", ".join(sorted(set(found)))
    return " ".join(message.split())[:300]


def main(request_path: str | Path, folder: str | Path) -> None:
    """Lowers what a file asks for."""
    request = Request(**json.loads(Path(request_path).read_text(encoding="utf-8")))
    try:
        module, unused_bytes = lower(request)
    except NotImplementedError as error:
        result: dict[str, Any] = {"unsupported": str(error)}
    else:
        Path(folder, MODULE_FILE).write_bytes(module)
        result = {"unused_bytes": unused_bytes}
    Path(folder, RESULT_FILE).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
