"""The real compiler, which the first of these tests installs; minutes to half an hour each."""

import pytest

from tfbert.recipes.pretrain_options import PretrainConfig
from tfbert.tpu_check.check import tpu_check
from tfbert.tpu_check.check_options import TpuCheckConfig

pytestmark = pytest.mark.slow


def check(recipe, accelerator, largest=True, backend="tensorflow", **changes):
    config = PretrainConfig.from_recipe(recipe, data="", output="", **changes)
    return tpu_check(TpuCheckConfig(config, accelerator, largest=largest, backend=backend))


def parameters(layers, width, vocabulary=30_522, positions=512):
    """Of BERT with both heads, counted by hand."""
    embeddings = (vocabulary + positions + 2) * width + 2 * width
    layer = 4 * (width * width + width) + 8 * width * width + 5 * width + 4 * width
    heads = (width * width + width) * 2 + 2 * width + vocabulary + 2 * width + 2
    return embeddings + layers * layer + heads


@pytest.mark.parametrize(
    ("recipe", "accelerator", "changes", "layers", "width", "shares"),
    [
        # 65,536 / 2,048 sequences of 128, and 32,768 / 2,048 of 512: the paper's 1,024 chips.
        ("lamb_76min", "v3-2048", {}, 24, 1_024, [(32, 1), (16, 1)]),
        (
            "base_one_gpu",
            "v5litepod-4",
            {"device_tokens": 16_384},
            12,
            768,
            [(1_024, 8), (512, 16)],
        ),
    ],
)
def test_recipes_compile_and_fit(recipe, accelerator, changes, layers, width, shares):
    result = check(recipe, accelerator, largest=False, **changes)
    assert result.fits
    for phase, (share, steps) in zip(result.phases, shares, strict=True):
        assert (phase.share, phase.program.accumulate_steps) == (share, steps)
        # Weights and LAMB's two moments in float32; the batch is below a hundredth of that.
        state = 12 * parameters(layers, width)
        assert state < phase.program.arguments < 1.01 * state
        if steps == 1:
            # The compiler counts all operations, not matrix products alone.
            assert phase.flops < phase.program.flops < 1.15 * phase.flops


@pytest.mark.parametrize("accelerator", ["v4-8", "v5litepod-4", "v6e-4"])
def test_the_step_of_jax_compiles(accelerator):
    pytest.importorskip("jax")
    (phase,) = check("quick", accelerator, largest=False, backend="jax").phases
    assert phase.program.fits
    state = 12 * parameters(2, 128, positions=64)
    assert state < phase.program.arguments < 1.01 * state
    assert phase.flops < phase.program.flops < 1.15 * phase.flops


def test_the_largest_batch_is_found_and_verified():
    (phase,) = check("quick", "v5litepod-1").phases
    assert phase.program.fits
    assert phase.largest > phase.share == 64
    fitting = {p.batch_size: p.used for p in phase.others if p.fits}
    assert phase.largest == max(fitting)
    assert fitting[phase.largest] <= 15.75 * 2**30


def test_a_recipe_for_40_gb_is_refused_where_there_are_16():
    result = check("base_one_gpu", "v5litepod-4", largest=False)
    short, long = (phase.program for phase in result.phases)
    assert short.fits
    assert not long.fits
    assert 15.75 * 2**30 < long.used < 40 * 2**30


def test_too_large_a_batch_is_refused_and_a_smaller_one_found():
    recipe = PretrainConfig.from_recipe(
        "quick", data="", output="", global_batch_size=16_384, device_tokens=2**30
    )
    result = tpu_check(TpuCheckConfig(recipe, "v5litepod-1"))
    (phase,) = result.phases
    assert not result.fits
    assert phase.program.used > 15.75 * 2**30
    assert 0 < phase.largest < phase.share == 16_384
    assert phase.share == phase.largest * phase.least_accumulate_steps
