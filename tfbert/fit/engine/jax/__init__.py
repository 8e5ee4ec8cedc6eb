"""JAX: a step is one compiled program over all devices, and batches are NumPy arrays.

A replica is a device, and its part of the program what `jax.shard_map` runs there. Keras' variables
are given to the program as its arguments, and take over its results.
"""
