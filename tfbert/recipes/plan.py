"""What a pre-training logs before it runs: its phases and their operations.

How long they take is said once the first updates are timed (`PretrainingCurves`).
"""

from collections.abc import Sequence

from tfbert.recipes.cost import CostModel, forecast
from tfbert.recipes.phase_data import PhaseData
from tfbert.recipes.phases import Phase


def plan_lines(costs: CostModel, phases: list[Phase], data: Sequence[PhaseData]) -> list[str]:
    """Lines of text: the model, each phase, and all of them together.

    Args:
        phases: With their `layers` given.
        data: Of each phase.
    """
    size = costs.size
    lines = [
        f"model: {size.num_layers} layers, {size.hidden_dim} wide, {costs.vocabulary_size} word "
        f"pieces, {costs.parameters():,} parameters"
    ]
    predictions = [part.predictions for part in data]
    parts, total = forecast(costs, phases, predictions)
    for number, (phase, part, expected) in enumerate(zip(phases, data, parts, strict=True), 1):
        times = phase.steps * phase.global_batch_size / part.train.examples
        division = f", in {part.accumulate_steps} parts" if part.accumulate_steps > 1 else ""
        lines.append(
            f"phase {number}: {phase.steps:,} updates of {phase.global_batch_size:,} sequences of "
            f"{phase.sequence_length} tokens{division}; {times:.2g} times over the records; "
            f"{_layers_in_words(phase, size.num_layers)}{expected.flops:.1e} operations"
        )
        if phase.global_batch_size > part.train.examples:
            lines.append(
                f"phase {number}: a batch is more than the {part.train.examples:,} sequences there "
                "are; an update sees some of them more than once"
            )
    less = f", {total.whole_depth:.2f} times fewer than at full depth"
    line = f"all phases: {total.flops:.1e} operations{less if total.whole_depth > 1 else ''}"
    return [*lines, line]


def _layers_in_words(phase: Phase, num_layers: int) -> str:
    """`9 layers, 6 of them frozen; `, or nothing where all is trained."""
    if phase.num_layers == num_layers and not phase.freeze_layers:
        return ""
    frozen = f", {phase.freeze_layers} of them frozen" if phase.freeze_layers else ""
    return f"{phase.num_layers} layer{'s' if phase.num_layers > 1 else ''}{frozen}; "
