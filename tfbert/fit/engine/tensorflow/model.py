"""What a model needs on several devices; under TensorFlow Keras has it."""


class ModelOnDevices:
    """A part of `DistributedTrainer`. Keras' own `distribute_strategy` is that of the scope."""
