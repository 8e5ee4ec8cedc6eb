"""`tpu-check`: every phase of a recipe, compiled for one core of a slice."""

import dataclasses
import logging

from tfbert.errors import TfbertError
from tfbert.io.paths import as_path
from tfbert.io.whole import write_json
from tfbert.recipes.flops import training_flops
from tfbert.recipes.phases import Phase, accumulate_steps, with_layers
from tfbert.records.masking import default_predictions
from tfbert.tpu_check.compiler import JAX, compile_program
from tfbert.tpu_check.fitting import (
    Line,
    accumulation_for,
    divisors,
    fit_line,
    round_size,
)
from tfbert.tpu_check.lowering import Request
from tfbert.tpu_check.slices import TpuSlice, find_slice

log = logging.getLogger("tfbert")

_MOST_TRIES = 3


@dataclasses.dataclass(frozen=True)
class PhaseCheck:
    """What was found of a phase.

    Args:
        number: Which phase, from 1.
        phase: `Phase`.
        layers: Encoder layers that its model has.
        predictions: Masked tokens a sequence.
        share: Sequences of each batch that a core has.
        flops: Operations of an update on one core: the model's matrix products.
        program: `Program` of the step as asked for.
        others: The further `Program`s that were compiled, in their order.
        line: Memory by sequences computed at once, a `Line`; None where there are no two points.
        largest: The largest number of sequences at once that was compiled and fits; 0 where none
            did, None where it was not looked for.
        accumulation: Micro-batches that the recipe then needs; None as `largest`, or without one.
    """

    number: int
    phase: Phase
    layers: int
    predictions: int
    share: int
    flops: float
    program: object
    others: list
    line: Line | None
    largest: int | None
    accumulation: int | None


@dataclasses.dataclass(frozen=True)
class TpuCheck:
    """What `tpu_check` returns.

    Args:
        tpu_slice: `TpuSlice`.
        compiler: What compiled.
        phases: List of `PhaseCheck`.
    """

    tpu_slice: TpuSlice
    compiler: str
    phases: list

    @property
    def fits(self):
        """Whether every phase compiles and fits as it was asked for."""
        return all(phase.program.fits for phase in self.phases)

    def require_fit(self):
        """Raises TfbertError where a phase does not compile, or does not fit."""
        bad = [phase for phase in self.phases if not phase.program.fits]
        if bad:
            reasons = "; ".join(f"phase {phase.number} {phase.program.problem}" for phase in bad)
            raise TfbertError(f"{self.tpu_slice.name}: {reasons}")


def tpu_check(config):
    """Compiles the training step of every phase for a slice of TPU chips.

    Args:
        config: `TpuCheckConfig`.

    Returns:
        `TpuCheck`; also written to `config.json` where that is given.

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
    pieces = [
        accumulate_steps(phase, tpu_slice.cores, config.recipe.device_tokens) for phase in phases
    ]
    checks = [
        _check_phase(config, tpu_slice, number, phase, count)
        for number, (phase, count) in enumerate(zip(phases, pieces, strict=True))
    ]
    result = TpuCheck(tpu_slice, JAX, checks)
    if config.json:
        write_json(as_path(config.json), dataclasses.asdict(result))
    return result


def _check_phase(config, tpu_slice, number, phase, pieces):
    share = phase.global_batch_size // tpu_slice.cores
    predictions = phase.predictions or default_predictions(phase.sequence_length)
    flops = training_flops(
        dataclasses.replace(config.recipe.bert_size, num_layers=phase.layers),
        config.vocabulary_size,
        phase.sequence_length,
        predictions,
        config.next_sentence,
        phase.freeze_layers,
    )

    def compiled(batch_size, pieces):
        """The program of a core that computes so many sequences at once."""
        request = Request(
            recipe=config.recipe,
            phase=number,
            cores=tpu_slice.cores,
            rows=batch_size * pieces,
            pieces=pieces,
            predictions=predictions,
            vocabulary_size=config.vocabulary_size,
            next_sentence=config.next_sentence,
        )
        parts = f" in {pieces} parts" if pieces > 1 else ""
        label = f"phase {number + 1}, {batch_size * pieces} sequences a core{parts}"
        return compile_program(request, tpu_slice, label)

    program = compiled(share // pieces, pieces)
    found = Search(share, tpu_slice.usable_bytes, compiled, program)
    if config.largest and program.fits is not None:
        found.look()
    return PhaseCheck(
        number=number + 1,
        phase=phase,
        layers=phase.layers,
        predictions=predictions,
        share=share,
        flops=share * flops.total,
        program=program,
        others=found.programs[1:],
        line=found.line,
        largest=found.largest,
        accumulation=accumulation_for(share, found.largest) if found.largest else None,
    )


class Search:
    """The largest number of sequences that a core can compute at once.

    Two compilations give a line of memory by batch, and a third one verifies what the line says. A
    share of the batch that fits as a whole leaves open how much larger it could be, so that fewer
    chips would do: the sizes to try are then the multiples of 8 above. Of a share that does not,
    equal parts are accumulated: its divisors.

    Args:
        share: Sequences of each batch that a core has.
        memory: Bytes that a program may need.
        compiled: Function of a number of sequences at once and of micro-batches, to a `Program`.
        program: The `Program` to begin with; `fits` is not None.
    """

    def __init__(self, share, memory, compiled, program):
        self.share = share
        self.memory = memory
        self.compiled = compiled
        self.programs = [program]
        self.line = None
        self.largest = None

    def look(self):
        """Sets `largest`, and `line` where there are two points of the same kind."""
        first = self.programs[0]
        while not first.fits and first.batch_size > 1:
            first = self._try(max(d for d in divisors(self.share) if d <= first.batch_size // 2))
            if first.fits is None:
                return
        self.largest = first.batch_size if first.fits else 0
        if not first.fits:
            return
        whole = first.pieces == 1
        second = self._second(first, whole)
        if second is None or not second.used:
            return
        self.line = fit_line((first.batch_size, first.used), (second.batch_size, second.used))
        if second.fits:
            self.largest = max(self.largest, second.batch_size)
        self._verify(whole)

    def _second(self, first, whole):
        if whole:
            other = max(1, first.batch_size // 2)
            if other == first.batch_size:
                other = 2
            return self._try(other, 1)
        smaller = [d for d in divisors(self.share) if d < first.batch_size]
        larger = [d for d in divisors(self.share) if first.batch_size < d < self.share]
        others = smaller[-1:] or larger[:1]
        return self._try(others[0]) if others else None

    def _verify(self, whole):
        """Compiles the largest size that the line promises, and smaller ones while none fits."""
        limit = self.line.room(self.memory)
        for _ in range(_MOST_TRIES):
            if whole:
                size = round_size(limit)
            else:
                size = max(d for d in divisors(self.share) if d <= max(limit, 1))
            if size <= self.largest:
                return
            if self._try(size, 1 if whole else None).fits:
                self.largest = size
                return
            limit = int(size * 0.95)

    def _try(self, size, pieces=None):
        """The `Program` of a size; the share's parts are accumulated unless `pieces` says else."""
        program = self.compiled(size, pieces or self.share // size)
        self.programs.append(program)
        return program
