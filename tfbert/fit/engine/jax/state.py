"""Variables' values on the devices, between Keras' variables and compiled programs.

A variable always holds its newest value, as an array of one device, so that anybody may read it,
assign to it or compute with it. A program takes arrays that lie on all devices; the first of them
is that array, and nothing is copied on the way.
"""

import weakref
from collections.abc import Sequence

import jax
import keras
import numpy as np

from tfbert.fit import keras_internals
from tfbert.hardware.jax_devices import JaxDevices


class DeviceState:
    """Arrays on all devices, by variable."""

    def __init__(self, devices: JaxDevices) -> None:
        self._devices = devices
        # By the id of a variable what it holds, and the array on all devices that has this part.
        self._arrays: dict[int, tuple[jax.Array, jax.Array]] = {}

    def take(self, variables: Sequence[keras.Variable]) -> list[jax.Array]:
        """The values of variables on all devices; what was assigned meanwhile is copied there."""
        arrays = []
        for variable in variables:
            value = keras_internals.value_of(variable)
            held, array = self._arrays.get(id(variable), (None, None))
            if held is not value or array is None:
                # A copy of its own: a program gives up its arguments, and another variable may
                # hold the same array.
                array = put(value, self._devices, self._devices.replicated)
                self._hold(variable, array)
            arrays.append(array)
        return arrays

    def give(self, variables: Sequence[keras.Variable], arrays: Sequence[jax.Array]) -> None:
        """Makes variables hold what a program returned for them."""
        for variable, array in zip(variables, arrays, strict=True):
            self._hold(variable, array)

    def _hold(self, variable: keras.Variable, array: jax.Array) -> None:
        held = array if len(self._devices.devices) == 1 else array.addressable_data(0)
        keras_internals.set_value(variable, held)
        if id(variable) not in self._arrays:
            # Another optimizer may take the place of this variable's.
            end = weakref.finalize(variable, self._arrays.pop, id(variable), None)
            end.atexit = False
        self._arrays[id(variable)] = held, array


def put(
    value: jax.Array | np.ndarray, devices: JaxDevices, sharding: jax.sharding.Sharding
) -> jax.Array:
    """A copy of an array on the devices.

    Args:
        value: All of it; with several processes the same on each.
        sharding: How it is divided among them.
    """
    if devices.processes == 1:
        return jax.device_put(value, sharding, may_alias=False)
    array = np.asarray(value)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
