"""Keras' own settings, whatever a user's `~/.keras/keras.json` or program sets."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def keras_defaults() -> Iterator[None]:
    """Inside it, what Keras makes has Keras' own defaults: float32, epsilon 1e-7.

    `floatx: float16` in `keras.json` would otherwise reach all that Keras makes without a dtype: a
    learning rate, the counts of a metric (which end at 65,504), a loss, a saved preprocessor. The
    settings are those of the process, and come back at the end. It decorates functions as well.
    """
    import keras

    config = keras.config
    policy, floatx, epsilon = config.dtype_policy(), config.floatx(), config.epsilon()
    image_data_format = config.image_data_format()
    config.set_floatx("float32")
    config.set_dtype_policy("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        config.set_dtype_policy(policy)
        config.set_floatx(floatx)
        config.set_epsilon(epsilon)
        config.set_image_data_format(image_data_format)
