"""This package's turns in `tasks.py`: updates as `tfbert finetune` makes them at its defaults.

    python scripts/benchmarks/task_ours.py speed MODEL

Reads a line of JSON for every turn, `{"task", "folder", "updates"}`, and answers with one.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from shared.turns import Clock
from task_recipes import MAX_GRAD_NORM, RECIPES, WARMUP, WEIGHT_DECAY

from tfbert.fit.compilation import make_optimizer
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import make_model
from tfbert.optimizers.schedules import WarmupPolynomialDecay
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.tuning_data import read_tuning_data
from tfbert.tasks.tokens.batch_sources import TrainingBatches
from tfbert.tasks.tokens.batching import LengthBatches, padded_lengths

SEED, UPDATES = 1, 10_000  # of the schedule: more than are measured


def main(command, model_path):
    assert command == "speed"
    runs = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["task"]
        if name not in runs:
            runs[name] = Run(name, Path(request["folder"]), model_path)
        print(json.dumps(runs[name].measure(request["updates"])), flush=True)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """These batches in every epoch."""

    batches: list

    @property
    def steps(self):
        return len(self.batches)

    def epoch(self, number):
        return self.batches


class Run:
    """A compiled model and the batches of its first epoch."""

    def __init__(self, name, folder, model_path):
        recipe = RECIPES[name]
        config = FinetuneConfig(
            task=name,
            data=str(folder / recipe.train),
            eval_data=str(folder / recipe.evaluation),
            model=model_path,
            output="-",
        )
        data = read_tuning_data(config)
        keras.utils.set_random_seed(SEED)
        encoder = load_encoder(model_path, POLICIES[choose_precision("auto")])
        self.model = make_model(encoder.backbone, data.problem)
        rate = WarmupPolynomialDecay(recipe.learning_rate, UPDATES, round(WARMUP * UPDATES))
        self.model.compile(
            make_optimizer(
                "adamw",
                self.model,
                rate,
                weight_decay=WEIGHT_DECAY,
                max_grad_norm=MAX_GRAD_NORM,
            ),
            data.problem.make_loss(),
            weighted_metrics=data.problem.make_metrics(),
            jit_compile="auto",
        )
        encoded = data.problem.encode(encoder.tokenizer, data.train, recipe.max_length)
        self.source = TrainingBatches(
            encoded.texts,
            LengthBatches(encoded.texts.lengths, recipe.batch_size, SEED),
            padded_lengths(recipe.max_length),
            encoded.targets,
        )
        self.turns = 0

    def measure(self, updates):
        """Seconds of so many updates, and their rows.

        The batches are spread evenly over the lengths of an epoch's, as they would be in a long
        run. Before the first turn, some of all lengths make graphs and programs.
        """
        lengths = self.source.texts.lengths
        batches = [rows for rows in self.source.batches.epoch(0) if len(rows) > 1]
        batches.sort(key=lambda rows: lengths[rows].max())
        if not self.turns:
            self._fit([batches[0], batches[-1], batches[len(batches) // 2]])
        random = np.random.default_rng((SEED, self.turns))
        self.turns += 1
        parts = np.array_split(np.arange(len(batches)), updates)
        chosen = [batches[random.choice(part)] for part in parts if len(part)]
        chosen = [chosen[position] for position in random.permutation(len(chosen))]
        clock = self._fit([chosen[0], *chosen])  # the first one starts the pipeline
        return {"seconds": clock.seconds() * len(chosen), "rows": sum(map(len, chosen))}

    def _fit(self, chosen):
        clock = Clock()
        source = dataclasses.replace(self.source, batches=Chosen(chosen))
        self.model.fit(source, epochs=1, verbose=0, callbacks=[clock])
        return clock


if __name__ == "__main__":
    main(*sys.argv[1:])
