"""A plan as text for the terminal."""

from collections.abc import Iterator

from tfbert.hardware.accelerators import PRICES_NOTE
from tfbert.hardware.tpu_slices import GIB
from tfbert.io.progress import duration
from tfbert.planning.plan import PhasePlan, Plan
from tfbert.planning.utilisation import utilisation_of


def plan_text(plan: Plan) -> list[str]:
    """The lines that `tfbert plan` prints."""
    hardware = plan.hardware
    lines = [
        f"hardware: {hardware.words}; {plan.peak / 1e12:,.3g} TFLOP/s and "
        f"{hardware.device.memory / GIB:.1f} GiB each, {plan.precision}",
        f"model: {plan.parameters:,} parameters",
    ]
    if plan.teacher_parameters:
        lines.append(f"teacher: {plan.teacher_parameters:,} parameters")
    for number, phase in enumerate(plan.phases, 1):
        lines += ["", *_phase_lines(number, phase, plan)]
    return [*lines, "", *_total_lines(plan)]


def _phase_lines(number: int, found: PhasePlan, plan: Plan) -> Iterator[str]:
    phase, memory, device = found.phase, found.memory, plan.hardware.device
    frozen = f", {phase.freeze_layers} of them frozen" if phase.freeze_layers else ""
    yield (
        f"phase {number}: {phase.steps:,} updates of {phase.global_batch_size:,} sequences of "
        f"{phase.sequence_length} tokens, {phase.num_layers} layers{frozen}"
    )
    division = f", in {found.accumulate_steps} micro-batches" if found.accumulate_steps > 1 else ""
    yield f"  a device    {found.at_once} sequences at once{division}"
    yield f"  operations  {found.flops:.2g}, {found.cost.total:.2g} an update"
    used, room = memory.total(found.at_once), memory.room(device.memory)
    verdict = f"room for {room} sequences at once" if room else "not even one sequence has room"
    if used > device.memory:
        tokens = room * phase.sequence_length
        verdict = f"does not fit: {verdict}" + (f", --device-tokens {tokens}" if room else "")
    yield (
        f"  memory      {used / GIB:.1f} GiB: weights {memory.weights / GIB:.1f}, optimizer "
        f"{memory.state / GIB:.1f}, activations {found.at_once * memory.sequence / GIB:.1f}; "
        f"{verdict}"
    )
    yield f"  time        {duration(found.seconds)}{_money(plan, found.seconds)}"


def _total_lines(plan: Plan) -> Iterator[str]:
    device = plan.hardware.device
    flops = sum(phase.flops for phase in plan.phases)
    yield (
        f"all phases: {flops:.2g} operations, {duration(plan.seconds)}{_money(plan, plan.seconds)}"
    )
    shares = " and ".join(
        f"{share:.0%} at length {length}"
        for length, share in sorted(utilisation_of(device.family).shares.items())
    )
    if device.family == "cpu":
        basis = f"assumed to be {shares.split(' ')[0]}; a run measures it (`mfu`)"
    else:
        basis = f"{shares}, as in published runs on {device.family} (docs/plan.md)"
        if not device.is_checked:
            basis += f"; none was found on {device.name}, so it may differ much"
    yield f"time: of the updates alone, by the share of the peak that training reaches: {basis}"
    if plan.is_list_price:
        yield f"price: {plan.price_per_hour:,.2f} US dollars an hour, {PRICES_NOTE}"


def _money(plan: Plan, seconds: float) -> str:
    if plan.price_per_hour is None:
        return ""
    return f", price {plan.price_per_hour * seconds / 3_600:,.2f}"
