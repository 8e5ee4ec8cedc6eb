"""`tfbert plan`: what each phase of a recipe takes on some hardware, before anything is paid."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfbert.errors import InputError
from tfbert.hardware.accelerators import GENERATIONS
from tfbert.io.paths import as_path
from tfbert.io.whole import write_json
from tfbert.models.sizes import BertSize
from tfbert.models.sources import stored_size
from tfbert.planning.devices import Device, Hardware, parse_hardware
from tfbert.planning.memory import DeviceMemory, device_memory
from tfbert.planning.plan_options import PlanConfig
from tfbert.planning.utilisation import utilisation_of
from tfbert.recipes.batch_size import accumulate_steps_of
from tfbert.recipes.cost import CostModel, UpdateCost
from tfbert.recipes.phases import Phase, with_layers
from tfbert.records.masking import default_predictions


@dataclasses.dataclass(frozen=True)
class PhasePlan:
    """What is expected of a phase.

    Args:
        accumulate_steps: Micro-batches in which a device computes its share of a batch.
        at_once: Sequences of each.
        cost: Operations of an update, over all devices together.
        memory: Of a device.
        seconds: Of the whole phase.
    """

    phase: Phase
    predictions: int
    accumulate_steps: int
    at_once: int
    cost: UpdateCost
    memory: DeviceMemory
    seconds: float

    @property
    def flops(self) -> float:
        """Operations of the whole phase."""
        return self.phase.steps * self.cost.total


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `plan` returns.

    Args:
        precision: The arithmetic's.
        peak: Operations a second of a device in that precision.
        parameters: Of the whole model.
        teacher_parameters: Of the model that it learns from; 0 without one.
        price_per_hour: Of all the hardware together; None where it is not known.
        is_list_price: Whether the price is Google's and not the user's.
    """

    hardware: Hardware
    precision: str
    peak: float
    parameters: int
    teacher_parameters: int
    phases: list[PhasePlan]
    price_per_hour: float | None
    is_list_price: bool

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)

    @property
    def price(self) -> float | None:
        """Of the whole training."""
        return None if self.price_per_hour is None else self.price_per_hour * self.seconds / 3_600


def plan(config: PlanConfig) -> Plan:
    """What a recipe takes on some hardware, phase by phase; also written to `config.json`.

    Time is that of the updates: evaluations, checkpoints and compilation come on top.

    Raises:
        InputError: If there is no such hardware, its devices cannot share a batch, or it does not
            compute in the precision.
    """
    hardware, recipe = parse_hardware(config.hardware), config.recipe
    precision = _precision(hardware.device, recipe.precision)
    size = recipe.bert_size
    teacher = None if recipe.teacher is None else _costs_of_teacher(recipe.teacher)
    predicts = recipe.loss_share_of_teacher < 1
    costs = CostModel(
        size,
        config.vocabulary_size,
        recipe.max_sequence_length,
        config.next_sentence and predicts,
        recipe.optimizer,
        masked_lm=predicts,
        teacher=None if teacher is None else teacher.size,
    )
    price = config.price_per_hour
    if price is None:
        price = _list_price(hardware)
    phases = with_layers(recipe.scaled_phases(), size.num_layers)
    result = Plan(
        hardware,
        precision,
        hardware.device.peaks[precision],
        costs.parameters(),
        0 if teacher is None else teacher.parameters(),
        [_phase_plan(config, costs, teacher, hardware, precision, phase) for phase in phases],
        price,
        config.price_per_hour is None and price is not None,
    )
    if config.json:
        write_json(as_path(config.json), _content(result))
    return result


def _costs_of_teacher(source: str) -> CostModel:
    found = stored_size(source)
    size = BertSize(
        found["num_layers"], found["hidden_dim"], found["num_heads"], found["intermediate_dim"]
    )
    # Its encoder with the pooler.
    return CostModel(
        size,
        found["vocabulary_size"],
        found["max_sequence_length"],
        segments=found["num_segments"],
        masked_lm=False,
    )


def _phase_plan(
    config: PlanConfig,
    costs: CostModel,
    teacher: CostModel | None,
    hardware: Hardware,
    precision: str,
    phase: Phase,
) -> PhasePlan:
    recipe, device, devices = config.recipe, hardware.device, hardware.count
    predictions = phase.predictions or default_predictions(phase.sequence_length)
    if not costs.masked_lm:
        predictions = 0
    accumulate_steps = accumulate_steps_of(phase, devices, recipe.device_tokens)
    cost = costs.update(phase, predictions)
    memory = device_memory(
        dataclasses.replace(costs.size, num_layers=phase.num_layers),
        costs.vocabulary_size,
        # A teacher's weights are there, and nothing of its activations is kept.
        costs.parameters(phase.layers) + (0 if teacher is None else teacher.parameters()),
        costs.parameters(phase.layers, phase.freeze_layers),
        phase.sequence_length,
        predictions,
        precision,
        accumulate_steps > 1,
        phase.freeze_layers,
        recipe.rematerialize,
    )
    seconds = utilisation_of(device.family).seconds(
        cost.products, phase.sequence_length, device.peaks[precision], devices
    )
    return PhasePlan(
        phase,
        predictions,
        accumulate_steps,
        phase.global_batch_size // devices // accumulate_steps,
        cost,
        memory,
        phase.steps * seconds,
    )


def _content(result: Plan) -> dict[str, Any]:
    """What `--json` writes: seconds, bytes, operations."""
    return {
        "hardware": result.hardware.name,
        "devices": result.hardware.count,
        "precision": result.precision,
        "device_memory": result.hardware.device.memory,
        "parameters": result.parameters,
        "teacher_parameters": result.teacher_parameters,
        "phases": [
            {
                **dataclasses.asdict(found.phase),
                "predictions": found.predictions,
                "accumulate_steps": found.accumulate_steps,
                "sequences_at_once": found.at_once,
                "operations": found.flops,
                "memory": found.memory.total(found.at_once),
                "seconds": found.seconds,
            }
            for found in result.phases
        ],
        "seconds": result.seconds,
        "price": result.price,
    }


def _precision(device: Device, asked: str) -> str:
    if asked == "auto":
        return next(iter(device.peaks))
    if asked not in device.peaks:
        raise InputError(
            f"--precision {asked}: {device.name} is planned in {' or '.join(device.peaks)}"
        )
    return asked


def _list_price(hardware: Hardware) -> float | None:
    """Google's price of an hour of a TPU slice; of other hardware None."""
    generation = GENERATIONS.get(hardware.name.rpartition("-")[0])
    if generation is None:
        return None
    return generation.price * int(hardware.name.rpartition("-")[2]) / generation.cores_in_name
