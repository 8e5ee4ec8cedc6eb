import pytest
import tensorflow as tf

from tfbert.errors import MachineError
from tfbert.hardware.memory import out_of_memory_advice


@pytest.mark.parametrize(
    "error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM")]
)
def test_exhausted_memory_names_a_smaller_batch(error):
    with pytest.raises(MachineError) as caught, out_of_memory_advice(64, 512, ", or less"):
        raise error
    assert str(caught.value) == (
        "out of memory with batches of 64 x 512 tokens: try --batch-size 32, or less"
    )


def test_other_errors_pass():
    with pytest.raises(KeyError), out_of_memory_advice(1, 1):
        raise KeyError("a bug")
