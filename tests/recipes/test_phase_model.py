"""The model that a pre-training begins with."""

import shutil

import pytest

from tfbert.errors import InputError
from tfbert.hardware.strategies import get_strategy
from tfbert.io.whole import write_json
from tfbert.recipes.phase_data import open_phases
from tfbert.recipes.phase_model import make_first_model
from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.records.record_source import find_dataset

PHASE = {"steps": 5, "global_batch_size": 8, "sequence_length": 16, "learning_rate": 0.1}


@pytest.fixture
def made(records):
    """A function: the model of some options; a new one is tiny."""

    def make(phase=(), **options):
        phases = [PHASE | dict(phase)]
        config = PretrainConfig(data=records, output="run", size="tiny", phases=phases, **options)
        dataset = find_dataset(config.data, None)
        (data,) = open_phases(config, dataset, config.phases, replicas=1)
        with get_strategy("cpu").scope():
            given = (config, dataset["options"], data.train, "float32", config.phases)
            return make_first_model(*given)[0]

    return make


def test_dropout_is_the_models_or_another(made, small_model):
    """Also that of `--init`, whose own rate is 0.1, with a teacher and without."""
    assert made().backbone.dropout == 0.1
    for rate in (None, 0.0, 0.3):
        for teacher in (None, str(small_model)):
            model = made(init=str(small_model), dropout=rate, teacher=teacher)
            layers = model.backbone.transformer_layers
            assert model.backbone.dropout == (0.1 if rate is None else rate)
            assert {layer.dropout for layer in layers} == {model.backbone.dropout}


def test_capital_letters_that_the_records_lack_are_told(made, small_model, tmp_path, caplog):
    made(init=str(small_model))
    assert "lowercase" not in caplog.text
    cased = shutil.copytree(small_model, tmp_path / "cased")
    write_json(cased / "tfbert.json", {"tokenizer": {"lowercase": False}})
    made(init=str(cased))
    assert "cased: knows capital letters, and the records of" in caplog.text
    assert "prepared with --lowercase true" in caplog.text


def test_a_teacher_needs_something_to_teach(made, small_model):
    model = {"init": str(small_model), "teacher": str(small_model)}
    with pytest.raises(InputError, match=r"^--phases.0.freeze-layers is 2: these are all layers"):
        made({"freeze_layers": 2}, **model)
    assert made({"freeze_layers": 2}, **model, teacher_share=0.5).trainable_variables
    assert made({"freeze_layers": 1}, **model).trainable_variables
    # The map to the teacher's width, 16, is trained.
    assert made({"freeze_layers": 2}, teacher=str(small_model)).trainable_variables
