import dataclasses

import pytest
import yaml

from tfbert.cli import main, parse
from tfbert.errors import InputError
from tfbert.models.sizes import SIZES
from tfbert.recipes import recipe_names, recipe_path
from tfbert.recipes.phases import Phase
from tfbert.recipes.pretrain_options import PretrainConfig

PHASE = {"steps": 10, "global_batch_size": 8, "learning_rate": 0.1}
GOOD = {"data": "records", "output": "run", "phases": [PHASE]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"phases": []},
            "--recipe must be given, and name a YAML file .* adamw_512",
        ),
        ({"phases": [{**PHASE, "predictions": 127}]}, "--phases.0.predictions is 127: .* most 126"),
        ({"phases": [{**PHASE, "growth": "top"}]}, "--phases.0.growth: nothing grows where no"),
        ({"device_tokens": 127}, "--device-tokens is 127: it must be at least 128, a sequence"),
        ({"phases": [{**PHASE, "steps": 0}]}, "--phases.0.steps is 0"),
        ({"size": "huge"}, "--size is 'huge': it must be one of tiny"),
        ({"num_heads": 5}, "--num-heads is 5: it must divide --hidden-dim 768"),
        ({"num_layers": 0}, "--num-layers is 0"),
        ({"max_sequence_length": 64}, "--max-sequence-length is 64: it must be at least 128"),
        ({"dropout": 1.0}, "--dropout is 1.0"),
        ({"dropout": 1e-6}, "--dropout is 1e-06: it must be 0, or from 0.00001 to 0.9999"),
        ({"embeddings": "counted"}, "--embeddings is 'counted': it must be one of random, cooc"),
        (
            {"embeddings": "cooccurrence", "init": "embedded"},
            "--embeddings is 'cooccurrence': it must be random with --init",
        ),
        ({"optimizer": "sgd"}, "--optimizer is 'sgd'"),
        ({"weight_decay": -1.0}, "--weight-decay is -1.0"),
        ({"max_grad_norm": -1.0}, "--max-grad-norm is -1.0"),
        ({"global_batch_size": 0}, "--global-batch-size is 0"),
        ({"global_batch_size": 1_000}, "--global-batch-size 1000: .* cannot be scaled"),
        ({"device_tokens": 0}, "--device-tokens is 0"),
        ({"eval_steps": 0}, "--eval-steps is 0"),
        ({"precision": "int8"}, "--precision is 'int8'"),
        ({"seed": -1}, "--seed is -1"),
        ({"keep_checkpoints": 0}, "--keep-checkpoints is 0"),
        ({"resume": True, "overwrite": True}, "--resume is True: it must be left out with"),
    ],
)
def test_a_wrong_option_is_named(change, message):
    with pytest.raises(InputError, match=message):
        PretrainConfig(**{**GOOD, **change})


def test_a_model_to_start_from_brings_its_own_positions():
    assert PretrainConfig(**GOOD, init="embedded", max_sequence_length=64).init == "embedded"


def test_a_run_record_is_a_recipe(tmp_path):
    config = PretrainConfig(**GOOD, size="tiny", num_layers=3, global_batch_size=16)
    record = {**dataclasses.asdict(config), "versions": {"keras": "3"}, "command": "pretrain"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(record))
    assert PretrainConfig.from_recipe(str(tmp_path / "config.yaml")) == config
    assert PretrainConfig.from_recipe(str(tmp_path / "config.yaml"), seed=9).seed == 9


def test_resume_alone_takes_the_options_of_the_run(tmp_path):
    config = PretrainConfig(**{**GOOD, "output": str(tmp_path)}, seed=5, overwrite=True)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(dataclasses.asdict(config)))
    words = ["pretrain", "--resume", "--output", str(tmp_path), "--keep-checkpoints=4"]
    _, resumed = parse(words)
    changes = {"resume": True, "overwrite": False, "keep_checkpoints": 4}
    assert resumed == dataclasses.replace(config, **changes)
    assert parse([*words, "--phases.0.steps", "11"])[1].phases[0].steps == 11
    # Also by the name that a YAML file has.
    assert parse([*words, "--phases.0.learning_rate", "0.25"])[1].phases[0].learning_rate == 0.25


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_sound_and_says_what_to_expect(name):
    config = PretrainConfig.from_recipe(name, data="records", output="run")
    assert config.bert_size == SIZES[config.size]
    header = recipe_path(name).read_text().split("\nsize:")[0]
    for word in (f"tfbert pretrain --recipe {name} ", "RECORDS", "hardware", "expect", "sources"):
        assert word in header
    assert "measured" in header


def sequences(config):
    return [phase.steps * phase.global_batch_size for phase in config.scaled_phases()]


@pytest.mark.parametrize("name", ["lamb_untuned", "lamb_32k", "lamb_76min", "adamw_512"])
def test_the_papers_runs_see_as_many_sequences(name):
    config = PretrainConfig.from_recipe(name, data="records", output="run")
    # One million steps of 512; 9 of 10 at length 128, in the 64k/32k run counted in epochs.
    assert sum(sequences(config)) == pytest.approx(512e6, rel=1e-3)
    assert sequences(config)[0] / 512e6 == pytest.approx(0.9, rel=1e-3)
    assert [phase.sequence_length for phase in config.phases] == [128, 512]


@pytest.mark.parametrize(
    ("batch", "steps", "rate", "warmup"),
    # You et al., arXiv 1904.00962: steps from table 1; 5 / (2**k * 1000) and the warm-up's share
    # as recalled from the table of untuned LAMB.
    [
        (512, 1_000_000, 5 / 2**3, 1 / 320),
        (1_024, 500_000, 5 / 2**2.5, 1 / 160),
        (4_096, 125_000, 5 / 2**1.5, 1 / 40),
        (16_384, 31_250, 5 / 2**0.5, 1 / 10),
        (32_768, 15_625, 5 / 2**0, 1 / 5),
    ],
)
def test_the_untuned_series(batch, steps, rate, warmup):
    config = PretrainConfig.from_recipe(
        "lamb_untuned", data="records", output="run", global_batch_size=batch
    )
    first, second = config.scaled_phases()
    assert first.steps + second.steps == pytest.approx(steps, abs=1)
    assert first.learning_rate == pytest.approx(rate / 1_000, rel=1e-6)
    assert first.warmup == pytest.approx(warmup, rel=1e-6)
    assert second.continues_schedule


def test_the_best_of_the_series_is_a_recipe_of_its_own():
    options = {"data": "records", "output": "run"}
    scaled = PretrainConfig.from_recipe("lamb_untuned", **options, global_batch_size=32_768)
    for ours, named in zip(
        scaled.scaled_phases(),
        PretrainConfig.from_recipe("lamb_32k", **options).phases,
        strict=True,
    ):
        assert abs(ours.steps - named.steps) <= 1  # 14,062.5 of the first
        assert dataclasses.replace(ours, steps=1) == dataclasses.replace(named, steps=1)


def test_nvidias_run():
    config = PretrainConfig.from_recipe("nvlamb_64k", data="records", output="run")
    assert [(p.steps, p.global_batch_size, p.predictions) for p in config.phases] == [
        (7_038, 65_536, 20),
        (1_563, 32_768, 80),
    ]
    assert (config.optimizer, config.max_grad_norm) == ("lamb", 1.0)


def test_the_command_line_goes_before_the_recipe():
    words = "pretrain --recipe lamb_76min --data d --output o --size tiny --no-progress"
    phases = "--phases.1.steps=2 --phases.0.learning-rate 5e-3 --phases.0.per-device-batch-size 4"
    _, config = parse([*words.split(), *phases.split(), "--phases.1.predictions=null"])
    assert (config.size, config.progress, config.optimizer) == ("tiny", False, "lamb")
    first, second = config.phases
    assert (first.learning_rate, first.per_device_batch_size) == (5e-3, 4)
    assert (second.steps, second.predictions) == (2, None)
    assert first == Phase(7_037, 65_536, 128, None, 5e-3, 0.4, per_device_batch_size=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--recipe x", "--recipe x: no such file, and no recipe of that name; recipes are"),
        ("", "--recipe must be given"),
        ("--recipe quick --phases.3.steps 1", "did you mean --phases.0.steps?"),
        ("--recipe quick --phases.0.steps", "--phases.0.steps: expected one argument"),
        ("--recipe quick --phases.0.steps x", "--phases.0.steps is 'x': it must be a whole"),
        ("--recipe quick --phases.0.stepz=1", "did you mean --phases.0.steps?"),
        ("--recipe quick --phases []", "--phases is not an option of `tfbert pretrain`"),
        ("--phases.0.steps 1", "--phases.0.steps changes a phase of a recipe: give its --recipe"),
        ("--recipe quick --size x", "--size is 'x': it must be one of tiny"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(capsys, arguments, message):
    assert main(["pretrain", "--data", "d", "--output", "o", *arguments.split()]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert message in printed.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sizes: tiny\n", "unknown option 'sizes'"),
        ("phases: 3\n", "--phases must be a list"),
        ("phases: [{steps: 5}]\n", "--phases.0.global-batch-size must be given"),
        ("phases: [{steps: 5, global_batch_size: 8, learning_rate: fast}]\n", "is 'fast'"),
        ("- 1\n", "must hold `option: value` lines"),
    ],
)
def test_a_wrong_recipe_is_one_line(tmp_path, capsys, content, message):
    (tmp_path / "own.yaml").write_text(content)
    recipe = str(tmp_path / "own.yaml")
    assert main(["pretrain", "--data", "d", "--output", "o", "--recipe", recipe]) == 2
    assert message in capsys.readouterr().err
