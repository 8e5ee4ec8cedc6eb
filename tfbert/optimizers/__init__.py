"""LAMB, LARS, AdamW, loss scaling and schedules: native Keras.

A gradient's path: `application` (the order of an update), `reduction` (the sum over replicas),
`application` again for scale, clipping and moving average, and the rule in `lamb`, `adamw` or
`lars`. `loss_scale` comes before all of this, `slots` holds the state, `backend` what TensorFlow
needs and JAX does not.

The lowest folder, with `io/`: of the package it may import `tfbert.keras_settings`, `tfbert.types`
and `tfbert.xla` only.
"""
