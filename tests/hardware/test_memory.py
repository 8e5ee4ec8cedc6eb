import pytest
import tensorflow as tf

from tfbert.errors import MachineError
from tfbert.hardware.memory import out_of_memory_advice


class JaxRuntimeError(RuntimeError):
    """As JAX raises it, for errors of all kinds."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        tf.errors.ResourceExhaustedError(None, None, "OOM"),
        JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17 bytes"),
    ],
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
    with pytest.raises(JaxRuntimeError), out_of_memory_advice(1, 1):
        raise JaxRuntimeError("INVALID_ARGUMENT: a bug")
