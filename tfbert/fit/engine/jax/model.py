"""What a model needs on several devices, which under TensorFlow Keras itself has."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from tfbert.fit.engine.jax.state import DeviceState
from tfbert.hardware import jax_devices
from tfbert.hardware.jax_devices import JaxDevices


class ModelOnDevices:
    """A part of `DistributedTrainer`: the devices of the scope in which the model was made."""

    _distribute_strategy: JaxDevices | None

    def __new__(cls, *args: Any, **kwargs: Any) -> ModelOnDevices:
        model = super().__new__(cls, *args, **kwargs)
        # Before Keras' constructor, which has to be called before it lets anything be set.
        object.__setattr__(model, "_distribute_strategy", jax_devices.current())
        return model

    @property
    def distribute_strategy(self) -> JaxDevices:
        """The devices that the model trains on."""
        return self._distribute_strategy or jax_devices.one_device()

    @property
    def outside_variables(self) -> Sequence[Any]:
        """What a step reads and the model does not have: the variables of a teacher."""
        return ()

    @functools.cached_property
    def device_state(self) -> DeviceState:
        """The values of the model's and the optimizer's variables on these devices."""
        return DeviceState(self.distribute_strategy)
