import dataclasses

import pytest

from tfbert.errors import InputError
from tfbert.recipes.batch_size import accumulate_steps, accumulate_steps_of
from tfbert.recipes.phases import Phase


@pytest.mark.parametrize(
    ("global_batch_size", "per_device", "replicas", "expected"),
    [(64, None, 4, 1), (64, 8, 4, 2), (65_536, 16, 8, 512), (8, 8, 1, 1)],
)
def test_accumulation_follows(global_batch_size, per_device, replicas, expected):
    assert accumulate_steps(global_batch_size, per_device, replicas) == expected


def test_what_does_not_divide_is_refused_with_a_batch_that_does():
    message = (
        r"--global-batch-size 100 is not a multiple of --per-device-batch-size 8 x 3 replica\(s\) "
        "= 24; 96 is"
    )
    with pytest.raises(InputError, match=message):
        accumulate_steps(100, 8, 3)


def test_accumulation_by_tokens_or_by_sequences():
    phase = Phase(steps=1, global_batch_size=65_536, learning_rate=0.1)
    assert (
        accumulate_steps_of(phase, replicas=2, device_tokens=8_192) == 512
    )  # 64 sequences at once
    assert accumulate_steps_of(phase, replicas=256, device_tokens=1_000_000) == 1
    assert accumulate_steps_of(phase, replicas=1, device_tokens=1) == 65_536
    # 48 sequences would fit; 32 is the next number that divides the share.
    assert accumulate_steps_of(phase, replicas=1, device_tokens=48 * 128) == 2_048
    own = dataclasses.replace(phase, per_device_batch_size=16)
    assert accumulate_steps_of(own, replicas=4, device_tokens=1) == 1_024


@pytest.mark.parametrize(
    ("size", "replicas", "message"),
    [(None, 3, "cannot be divided among 3 devices; 63 can"), (24, 2, "is not a multiple of")],
)
def test_a_batch_that_cannot_be_divided(size, replicas, message):
    phase = Phase(1, 64, learning_rate=0.1, per_device_batch_size=size)
    with pytest.raises(InputError, match=f"--global-batch-size 64 {message}"):
        accumulate_steps_of(phase, replicas, device_tokens=1_000)
