"""A check as text for the terminal, and as a table for docs/."""

from collections.abc import Iterator

from tfbert.hardware.tpu_slices import GIB, TpuSlice
from tfbert.tpu_check.check import PhaseCheck, TpuCheck


def check_lines(check: TpuCheck) -> list[str]:
    """The lines that `tfbert tpu-check` prints."""
    tpu_slice = check.tpu_slice
    lines = [
        f"{tpu_slice.name}: {tpu_slice.chips:,} chips, {tpu_slice.cores:,} cores of "
        f"{tpu_slice.core.memory_gib:g} GiB, of which a program gets "
        f"{tpu_slice.core.usable_gib:g}; {check.backend}'s step, compiled by {check.compiler}, on "
        "no TPU"
    ]
    for found in check.phases:
        lines += ["", *_phase_lines(found, tpu_slice)]
    return lines


def _phase_lines(found: PhaseCheck, tpu_slice: TpuSlice) -> Iterator[str]:
    phase, program = found.phase, found.program
    count = program.accumulate_steps
    division = f" in {count} parts" if count > 1 else ""
    yield (
        f"phase {found.number}: {found.layers} layers, {phase.global_batch_size:,} sequences of "
        f"{phase.sequence_length}, a core has {found.share}{division}"
    )
    verdict = f"yes, in {program.seconds:.0f} seconds" if program.fits else f"no: {program.problem}"
    yield f"  compiles   {verdict}"
    if program.used:
        yield f"  memory     {_gib(program.used)} of {tpu_slice.core.usable_gib:.2f} GiB a core"
    if program.arguments:
        yield (
            f"             weights, state and batch {_gib(program.arguments + program.unused)}, "
            f"results {_gib(program.outputs)}, temporaries {_gib(program.temporaries)}, program "
            f"{_gib(program.code)}"
        )
    counted = f"; the compiler counts {program.flops:.3g}" if program.flops else ""
    if counted and count > 1:
        counted += " with one part of the batch"
    yield f"  FLOPs      {found.flops:.3g} a core and update in matrix products{counted}"
    if found.line:
        yield (
            f"  line       {_gib(found.line.fixed)} GiB and {_gib(found.line.each, 4)} GiB a "
            f"sequence, room for {found.line.room(tpu_slice.usable_bytes)} at once"
        )
    if found.largest:
        needed = found.least_accumulate_steps
        how = "one part" if needed == 1 else f"{needed} parts"
        yield (
            f"  largest    {found.largest} sequences at once were compiled and fit: the recipe "
            f"needs {how} a core"
        )
    elif found.largest == 0:
        yield "  largest    none: not even one sequence at once fits"


def _gib(number: float, digits: int = 2) -> str:
    return f"{number / GIB:.{digits}f}"


def markdown_table(name: str, check: TpuCheck) -> list[str]:
    """A check as the lines of a table for docs/."""
    tpu_slice = check.tpu_slice
    rows = [
        f"**`{name}` on {tpu_slice.name}**: {tpu_slice.chips:,} chips, {tpu_slice.cores:,} cores "
        f"of {tpu_slice.core.memory_gib:g} GiB ({tpu_slice.core.usable_gib:g} for a program), "
        f"topology `{tpu_slice.topology}`",
        "",
        "| phase | batch | a core | parts | compiles | memory, GiB a core | FLOPs a core and "
        "update | largest at once | parts then | compiler, s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for found in check.phases:
        phase, program = found.phase, found.program
        cells = [
            f"{found.number}: {found.layers} layers, length {phase.sequence_length}",
            f"{phase.global_batch_size:,}",
            found.share,
            program.accumulate_steps,
            "yes" if program.fits else f"no: {program.problem}",
            f"{_gib(program.used)} of {tpu_slice.core.usable_gib:.2f}",
            f"{found.flops:.3g}",
            "not looked for" if found.largest is None else found.largest,
            found.least_accumulate_steps or "",
            f"{program.seconds:.0f}",
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return rows
