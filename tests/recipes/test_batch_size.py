import pytest

from tfbert.errors import InputError
from tfbert.recipes.batch_size import accumulation


@pytest.mark.parametrize(
    ("global_batch_size", "per_device", "replicas", "expected"),
    [(64, None, 4, 1), (64, 8, 4, 2), (65_536, 16, 8, 512), (8, 8, 1, 1)],
)
def test_accumulation_follows(global_batch_size, per_device, replicas, expected):
    assert accumulation(global_batch_size, per_device, replicas) == expected


def test_what_does_not_divide_is_refused_with_a_batch_that_does():
    message = (
        r"--global-batch-size 100 is no multiple of --per-device-batch-size 8 x 3 replica\(s\) "
        "= 24; 96 is"
    )
    with pytest.raises(InputError, match=message):
        accumulation(100, 8, 3)
