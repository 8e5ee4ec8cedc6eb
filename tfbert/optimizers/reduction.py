"""The only file of the folder that knows of TensorFlow: replicas, conditions, compilation.

Under another backend every function is the plain thing that its name says for one replica.
"""

import contextlib

import keras
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None


def densify(gradient):
    """A gradient as one dense float32 tensor.

    The slices of an `IndexedSlices` that share a row are added up, so that its norm is the
    gradient's; float16 and bfloat16 are widened before anything is summed.
    """
    if tf is not None and isinstance(gradient, tf.IndexedSlices):
        gradient = tf.convert_to_tensor(gradient)
    return ops.cast(ops.convert_to_tensor(gradient, sparse=False), "float32")


def sum_over_replicas(tensors):
    """The sum over all replicas of every tensor of a list; the same on each of them.

    To be called outside of any condition: under MirroredStrategy it is a `merge_call`.

    Args:
        tensors: List of dense tensors, local to this replica.

    Returns:
        List of tensors of the same shapes.

    Raises:
        ValueError: not inside `strategy.run`, or a strategy without synchronous replicas.
    """
    if tf is None:
        return list(tensors)
    context = tf.distribute.get_replica_context()
    if context is None:
        raise ValueError("apply() must be called inside strategy.run, once by every replica")
    strategy = context.strategy
    if tf.distribute.has_strategy() and not isinstance(strategy, _synchronous_strategies()):
        raise ValueError(f"{type(strategy).__name__} does not keep its replicas in step")
    if context.num_replicas_in_sync == 1:
        return list(tensors)
    # A tensor made outside of strategy.run has no device here before it is copied.
    tensors = [tf.identity(t) for t in tensors]
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, tensors))


def reduced(gradients, denominator=None):
    """The gradients of all replicas as one: dense, float32, summed.

    Args:
        gradients: List of tensors or `IndexedSlices`, local to this replica.
        denominator: Scalar or None: this replica's part of the divisor.

    Returns:
        List of dense float32 tensors and their divisor, a float32 scalar: the sum of the
        denominators, or 1 where that is 0 or None. The same on every replica.
    """
    gradients = [densify(g) for g in gradients]
    if denominator is None:
        return sum_over_replicas(gradients), ops.ones((), "float32")
    *gradients, total = sum_over_replicas([*gradients, ops.cast(denominator, "float32")])
    return gradients, ops.where(ops.equal(total, 0.0), 1.0, total)


def run_if(predicate, update, variables):
    """Runs `update`, which assigns to some of `variables`, where `predicate` holds.

    All replicas must see the same `predicate`, and `update` must hold no `merge_call`.

    Args:
        predicate: Boolean scalar tensor; None means always.
        update: Function without arguments or result.
        variables: List of `keras.Variable`, all that `update` may assign to.
    """
    if predicate is None:
        update()
    elif tf is not None:
        tf.cond(predicate, lambda: _and_return_nothing(update), lambda: _and_return_nothing(None))
    else:
        # JAX cannot trace side effects in a branch: compute both states, select one.
        before = [(v, ops.convert_to_tensor(v)) for v in variables]
        with keras.StatelessScope(state_mapping=before) as scope:
            update()
        after = [scope.get_current_value(v) for v in variables]
        for (variable, old), new in zip(before, after, strict=True):
            variable.assign(ops.where(predicate, new, old))


def compiled(function):
    """`function`, compiled by XLA where that is for us to do.

    It may assign to variables that are its arguments: one compilation then serves all
    variables of a shape, where one of BERT-Base's whole update takes several times as long.
    Under TPUStrategy and JAX the caller's step is compiled as a whole.
    """
    if tf is None:
        return function
    program = tf.function(function, jit_compile=True, autograph=False)

    def call(*args, **kwargs):
        on_tpu = isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
        return (function if on_tpu else program)(*args, **kwargs)

    return call


def local(variable):
    """What `compiled` takes for a variable: this replica's own copy of it."""
    if tf is None:
        return variable
    variable = _native(variable)
    if isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return variable
    copies = tf.distribute.get_strategy().experimental_local_results(variable)
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return copies[int(tf.get_static_value(replica)) % len(copies)]


def apply_stock(optimizer, gradients, variables, predicate):
    """Lets one of Keras' own optimizers update with gradients that are already reduced.

    It will sum over replicas once more, after clipping by replica: so all but the first give
    zeros, and what is clipped is the reduced gradient.

    Args:
        optimizer: A built `keras.optimizers.Optimizer`.
        gradients: List of dense tensors, the same on every replica.
        variables: List of `keras.Variable`, one for each gradient.
        predicate: Boolean scalar tensor, the same on every replica.
    """
    if tf is None or not tf.distribute.has_strategy():
        written = [*variables, *optimizer.variables]
        run_if(predicate, lambda: optimizer.apply(gradients, variables), written)
        return

    def on_replica(gradients):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        is_first = tf.equal(replica, 0)
        optimizer.apply([tf.where(is_first, g, tf.zeros_like(g)) for g in gradients], variables)

    def across_replicas(strategy, gradients, predicate):
        # A condition around the optimizer's merge_call is legal in this context alone.
        predicate = strategy.experimental_local_results(predicate)[0]
        each = strategy.extended.call_for_each_replica
        run_if(predicate, lambda: each(on_replica, args=(gradients,)), None)

    tf.distribute.get_replica_context().merge_call(across_replicas, args=(gradients, predicate))


def outside_of_graphs():
    """A scope in which assignments happen at once, also while a function is traced."""
    return contextlib.nullcontext() if tf is None else tf.init_scope()


def check_may_build():
    """Raises ValueError where variables for several replicas cannot be made any more."""
    if tf is not None and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        raise ValueError("call optimizer.build(model.trainable_variables) in strategy.scope()")


def slot_scope(variable, own_variable):
    """The scope in which a slot of `variable` is created, so that it has the same copies.

    Args:
        variable: The model's variable.
        own_variable: A variable that the optimizer made in its constructor.

    Raises:
        ValueError: the optimizer was constructed outside of the model's strategy.
    """
    if tf is None:
        return contextlib.nullcontext()
    ours, theirs = _strategy_of(own_variable), _strategy_of(variable)
    if ours is not theirs:
        raise ValueError("construct the optimizer inside the strategy.scope() of the model")
    if theirs is None or tf.distribute.get_strategy() is theirs:
        return contextlib.nullcontext()
    return theirs.scope()


def _native(variable):
    return variable.value if isinstance(variable, keras.Variable) else variable


def _strategy_of(variable):
    return getattr(_native(variable), "distribute_strategy", None)


def _synchronous_strategies():
    return (
        tf.distribute.MirroredStrategy,
        tf.distribute.MultiWorkerMirroredStrategy,
        tf.distribute.OneDeviceStrategy,
        tf.distribute.TPUStrategy,
    )


def _and_return_nothing(update):
    if update is not None:
        update()
    return tf.constant(0)
