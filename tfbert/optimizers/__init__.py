"""LAMB, LARS, AdamW, loss scaling and schedules: native Keras.

A gradient's path: `application` (the order of an update), `reduction` (the sum over replicas),
`application` again for scale, clipping and moving average, and the rule in `lamb`, `adamw` or
`lars`. `loss_scale` stands before it, `slots` holds the state, `backend` what TensorFlow needs to
be told and JAX does not.

The lowest folder, with `io/`: of the package it may import `tfbert.xla` and
`tfbert.types` alone.
"""
