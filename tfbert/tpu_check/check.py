"""`tfbert tpu-check`: every phase of a recipe, compiled for one core of a slice."""

import dataclasses
import importlib.util

from tfbert.errors import TfbertError
from tfbert.hardware.tpu_slices import TpuSlice, find_slice
from tfbert.io.paths import as_path
from tfbert.io.whole import write_json
from tfbert.recipes.batch_size import accumulate_steps_of
from tfbert.recipes.flops import training_flops
from tfbert.recipes.phases import Phase, with_layers
from tfbert.records.masking import default_predictions
from tfbert.tpu_check.check_options import TpuCheckConfig
from tfbert.tpu_check.compiler import JAX, Program, compile_program
from tfbert.tpu_check.fitting import Line, Search, least_accumulate_steps
from tfbert.tpu_check.lowering import Request


@dataclasses.dataclass(frozen=True)
class PhaseCheck:
    """What was found of a phase.

    Args:
        number: Which phase, from 1.
        layers: Encoder layers that its model has.
        predictions: Masked tokens a sequence.
        share: Sequences of each batch that a core has.
        flops: Operations of an update on one core: the model's matrix products.
        program: That of the step as asked for.
        others: The further programs that were compiled, in their order.
        line: Memory by sequences computed at once; None where there are no two points.
        largest: The largest number of sequences at once that was compiled and fits; 0 where none
            did, None where it was not looked for.
        least_accumulate_steps: Micro-batches that the recipe then needs; None as `largest`, or
            without one.
    """

    number: int
    phase: Phase
    layers: int
    predictions: int
    share: int
    flops: float
    program: Program
    others: list[Program]
    line: Line | None
    largest: int | None
    least_accumulate_steps: int | None


@dataclasses.dataclass(frozen=True)
class TpuCheck:
    """What `tpu_check` returns; `compiler` is what compiled, `backend` what Keras ran on."""

    tpu_slice: TpuSlice
    compiler: str
    backend: str
    phases: list[PhaseCheck]

    @property
    def fits(self) -> bool:
        """Whether every phase compiles and fits as it was asked for."""
        return all(phase.program.fits for phase in self.phases)

    def require_fit(self) -> None:
        """Raises TfbertError where a phase does not compile, or does not fit."""
        bad = [phase for phase in self.phases if not phase.program.fits]
        if bad:
            reasons = "; ".join(f"phase {phase.number} {phase.program.problem}" for phase in bad)
            raise TfbertError(f"{self.tpu_slice.name}: {reasons}")


def tpu_check(config: TpuCheckConfig) -> TpuCheck:
    """Compiles the training step of every phase for a slice of TPU chips.

    The result is also written to `config.json` where that is given.

    Raises:
        InputError: If there is no such TPU, or its cores cannot share the batch.
        MachineError: If the TPU's compiler cannot be installed.
        TfbertError: If it breaks down.
    """
    tpu_slice = find_slice(config.accelerator)
    phases = with_layers(config.recipe.scaled_phases(), config.recipe.bert_size.num_layers)
    if config.per_device_batch_size:
        size = config.per_device_batch_size
        phases = [dataclasses.replace(phase, per_device_batch_size=size) for phase in phases]
    # First of all phases: a batch that cannot be divided is refused before anything is compiled.
    divisions = [
        accumulate_steps_of(phase, tpu_slice.cores, config.recipe.device_tokens) for phase in phases
    ]
    checks = [
        _check_phase(config, tpu_slice, number, phase, accumulate_steps)
        for number, (phase, accumulate_steps) in enumerate(zip(phases, divisions, strict=True))
    ]
    result = TpuCheck(tpu_slice, JAX, _backend(config), checks)
    if config.json:
        write_json(as_path(config.json), dataclasses.asdict(result))
    return result


def _backend(config: TpuCheckConfig) -> str:
    """What the step is lowered on."""
    has_jax = importlib.util.find_spec("jax") is not None
    return config.backend or ("jax" if has_jax else "tensorflow")


def _check_phase(
    config: TpuCheckConfig, tpu_slice: TpuSlice, number: int, phase: Phase, accumulate_steps: int
) -> PhaseCheck:
    share = phase.global_batch_size // tpu_slice.cores
    predictions = phase.predictions or default_predictions(phase.sequence_length)
    flops = training_flops(
        dataclasses.replace(config.recipe.bert_size, num_layers=phase.num_layers),
        config.vocabulary_size,
        phase.sequence_length,
        predictions,
        config.next_sentence,
        phase.freeze_layers,
    )

    def compiled(batch_size: int, accumulate_steps: int) -> Program:
        """The program of a core that computes so many sequences at once."""
        request = Request(
            recipe=config.recipe,
            phase=number,
            cores=tpu_slice.cores,
            rows=batch_size * accumulate_steps,
            accumulate_steps=accumulate_steps,
            predictions=predictions,
            vocabulary_size=config.vocabulary_size,
            next_sentence=config.next_sentence,
            backend=_backend(config),
        )
        division = f" in {accumulate_steps} parts" if accumulate_steps > 1 else ""
        label = f"phase {number + 1}, {request.rows} sequences a core{division}"
        return compile_program(request, tpu_slice, label)

    program = compiled(share // accumulate_steps, accumulate_steps)
    found = Search(share, tpu_slice.usable_bytes, compiled, program)
    if config.largest and program.fits is not None:
        found.look()
    return PhaseCheck(
        number=number + 1,
        phase=phase,
        layers=phase.num_layers,
        predictions=predictions,
        share=share,
        flops=share * flops.total,
        program=program,
        others=found.programs[1:],
        line=found.line,
        largest=found.largest,
        least_accumulate_steps=(
            least_accumulate_steps(share, found.largest) if found.largest else None
        ),
    )
