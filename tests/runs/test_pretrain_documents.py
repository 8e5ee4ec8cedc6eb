"""Runs with `--document-share` and `--mask-rare-words`."""

from pathlib import Path

import numpy as np
import pytest
from helpers.pretraining_run import PHASES, records_of, stopped

from tfbert.cli import main
from tfbert.errors import InputError
from tfbert.models.pretrainer import HEADS_FILE
from tfbert.recovery.checkpoint_files import phase_folder
from tfbert.recovery.checkpoints import Checkpoints
from tfbert.runs.outputs.pretrain_callbacks import PretrainingCurves
from tfbert.runs.pretrain import pretrain

GOOD = "the actors were fine and the film is a warm and moving pleasure to see with friends ."
BAD = "the plot was dull and the jokes fell flat in a long and tiresome mess of a sequel ."


@pytest.fixture(scope="module")
def packed(embedded_vocabulary_file, tmp_path_factory):
    """Documents that praise or do not, each of some sequences."""
    rng = np.random.default_rng(0)
    words = [GOOD.split(), BAD.split()]
    documents = [" ".join(rng.choice(words[number % 2], 70)) for number in range(120)]
    options = {"lengths": [16, 24], "sequences": "filled", "validation_fraction": 0.1}
    folder = tmp_path_factory.mktemp("packed")
    return records_of("\n".join(documents), folder, embedded_vocabulary_file, **options)


def weights_of(run, phase):
    tensors = Checkpoints(phase_folder(Path(run) / "checkpoints", phase)).newest().tensors
    return {name: array.tobytes() for name, array in tensors.items()}


def test_what_a_document_is_about_is_learned(pretrain_config, packed):
    """Of documents of two kinds. No masks are drawn, and there are no heads."""
    phases = [{**PHASES[0], "steps": 60, "warmup": 0.1}]
    options = {"document_share": 1.0, "embeddings": "documents", "optimizer": "adamw"}
    result = pretrain(pretrain_config(data=packed, phases=phases, eval_steps=60, **options))
    # 1 for a model that knows nothing, 0.9 where the sequences around are of other documents.
    assert result.metrics["val_loss"] < 0.6
    assert not any("mlm" in name for name in result.metrics)
    assert not (Path(result.run_directory) / "model" / HEADS_FILE).exists()


@pytest.mark.parametrize(
    "staging",
    [
        {},
        pytest.param({"staging": "stack", "stages": 2, "num_layers": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_stopped_ends_with_the_same_bits(pretrain_config, packed, tmp_path, staging):
    options = {"data": packed, "document_share": 0.5, "mask_rare_words": True, "num_layers": 1}
    options |= {"checkpoint_steps": 1, **staging}
    whole = pretrain(pretrain_config(**options, output=str(tmp_path / "whole")))
    assert {"val_mlm_loss", "val_document_loss"} <= whole.metrics.keys()
    assert (Path(whole.run_directory) / "model" / HEADS_FILE).exists()
    config = pretrain_config(**options)
    with stopped(PretrainingCurves, 3):
        pretrain(config)
    result = pretrain(config)
    assert result.history == whole.history
    last = 2 if staging else 1
    assert weights_of(result.run_directory, last) == weights_of(whole.run_directory, last)


def test_pairs_are_refused(pretrain_config):
    with pytest.raises(InputError, match=r"--document-share: the records of .* are not text"):
        pretrain(pretrain_config(document_share=0.5))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--document-share", "1.5"], "--document-share is 1.5: it must be above 0 and at most 1"),
        (
            ["--document-share", "0.5", "--teacher", "embedded"],
            "--document-share is 0.5: it must be left out where there is a --teacher",
        ),
        (
            ["--document-share", "1", "--mask-rare-words"],
            "--mask-rare-words is True: it must be left out where no masked tokens are predicted",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(words, message, tmp_path, capsys):
    command = ["pretrain", "--recipe", "quick", "--data", "d", "--output", str(tmp_path / "run")]
    assert main([*command, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()
