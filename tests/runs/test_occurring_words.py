"""`tfbert finetune` with a word table of the rows that occur ends as one with the whole table."""

import itertools

import numpy as np
import pytest
import yaml
from helpers.pretraining_run import stopped
from helpers.training_fixtures import quick_options

from tfbert.models.encoder import weights_by_path
from tfbert.models.layers import word_table
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import load_model
from tfbert.runs import finetune as finetune_module
from tfbert.runs.command_options import FinetuneConfig
from tfbert.runs.finetune import finetune
from tfbert.runs.predict import predict_texts
from tfbert.tasks.problems.classification import Classification

VOCABULARY = 8000
TABLE = "token_embedding/embeddings"
# 8 updates an epoch. Without clipping: see `tests/models/layers/test_word_table.py`.
OPTIONS = {"epochs": 3, "optimizer": "adamw", "weight_decay": 0.1, "max_grad_norm": 0.0}
NEW_WORDS = ["Xylophones zigzag quaintly?", "Eleven quarrelsome wizards juggle kumquats."]


@pytest.fixture(scope="module")
def run(data, small_model, tmp_path_factory):
    """A function that runs `finetune`, and the folder of the runs."""
    folder = tmp_path_factory.mktemp("words")

    def make(name, whole=False, accuracies=None, **changes):
        config = FinetuneConfig(
            **{**quick_options(data, small_model, folder / name), **OPTIONS, **changes}
        )
        with pytest.MonkeyPatch.context() as patch:
            if whole:
                patch.setattr(word_table, "_LARGEST_SHARE", 0.0)
            if accuracies:
                found = itertools.chain(accuracies, itertools.repeat(0.0))
                measure = Classification.measure

                def measured(*arguments):
                    return {**measure(*arguments), "loss": 1.0, "accuracy": next(found)}

                patch.setattr(Classification, "measure", measured)
            return finetune(config)

    make.folder = folder
    return make


@pytest.fixture(scope="module")
def whole(run):
    """Stopped once, and recorded as by earlier versions, which know nothing of a smaller table."""
    with stopped(finetune_module.StatusUpdates, 11):
        run("whole", whole=True)
    path = run.folder / "whole" / "config.yaml"
    record = yaml.safe_load(path.read_text())
    assert record["resolved"].pop("word_rows") == VOCABULARY
    path.write_text(yaml.safe_dump(record))
    return run("whole")


@pytest.fixture(scope="module")
def small(run):
    """Stopped once."""
    with stopped(finetune_module.StatusUpdates, 13):
        run("small")
    return run("small")


def weights_of(result):
    weights = weights_by_path(load_model(result.run_directory).model)
    return {path: np.array(variable) for path, variable in weights.items()}


def rows_of(result):
    with open(f"{result.run_directory}/config.yaml") as file:
        return yaml.safe_load(file)["resolved"]["word_rows"]


def test_the_same_weights_and_answers_also_to_words_that_did_not_occur(whole, small):
    ours, theirs, rows = weights_of(small), weights_of(whole), rows_of(small)
    assert rows < 0.2 * VOCABULARY and len(ours[TABLE]) == len(theirs[TABLE]) == VOCABULARY
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        if path != TABLE:
            np.testing.assert_array_equal(value, theirs[path], err_msg=path)
    same = (ours[TABLE] == theirs[TABLE]).all(-1)
    assert rows <= same.sum() < VOCABULARY
    np.testing.assert_allclose(ours[TABLE], theirs[TABLE], rtol=1e-6)
    assert small.history == whole.history
    for name in ("loss", "accuracy", "macro_f1"):
        assert small.metrics[name] == pytest.approx(whole.metrics[name], rel=1e-6)
    answers = [
        [answer["probability"] for answer in predict_texts(load_model(each), NEW_WORDS)]
        for each in (small.run_directory, whole.run_directory)
    ]
    np.testing.assert_allclose(*answers, rtol=1e-6)
    # What is returned is the model that was saved, with the state of its optimizer.
    np.testing.assert_array_equal(small.model.backbone.token_embedding.embeddings, ours[TABLE])
    slots = [dict(each.model.optimizer.all_slots())[TABLE] for each in (small, whole)]
    for name in ("momentum", "velocity", "first_step"):
        np.testing.assert_array_equal(*(np.array(each[name]) for each in slots))


def test_the_other_rows_have_decayed_as_long_as_the_kept_epoch(run, small_model):
    """Gradients are clipped, and the first epoch is the best one."""
    options = {"max_grad_norm": 0.1, "warmup_fraction": 0.25}
    result = run("kept", accuracies=[0.9, 0.5, 0.4], **options)
    assert result.metrics["kept_epoch"] == 1
    steps = np.arange(8)
    rates = 1e-2 * np.where(steps < 6, steps / 6, (24 - steps) / 18)
    before = np.array(load_encoder(str(small_model)).backbone.token_embedding.embeddings)
    after = weights_of(result)[TABLE]
    others = np.isclose(after, before * np.prod(1 - 0.1 * rates), rtol=1e-6, atol=0).all(-1)
    # Words of the evaluation alone are among them.
    assert VOCABULARY - rows_of(result) <= others.sum() < 0.95 * VOCABULARY
