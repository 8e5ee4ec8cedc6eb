"""From the batch of the recipe to what a device takes at a time."""

from tfbert.errors import InputError


def accumulation(global_batch_size, per_device_batch_size, replicas):
    """How many micro-batches a replica's part of the global batch is divided into.

    Args:
        global_batch_size: Examples an update, over all replicas together.
        per_device_batch_size: Examples that one device takes at a time; None means its whole part.
        replicas: Number of replicas.

    Returns:
        The `accumulate_steps` of `compile`.

    Raises:
        InputError: If the global batch is no multiple of what all devices take at a time.
    """
    if per_device_batch_size is None:
        return 1
    at_a_time = per_device_batch_size * replicas
    if global_batch_size % at_a_time:
        nearest = max(1, round(global_batch_size / at_a_time)) * at_a_time
        raise InputError(
            f"--global-batch-size {global_batch_size} is no multiple of --per-device-batch-size "
            f"{per_device_batch_size} x {replicas} replica(s) = {at_a_time}; {nearest} is"
        )
    return global_batch_size // at_a_time
