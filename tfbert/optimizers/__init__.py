"""Optimizers and schedules: native Keras, without any other part of the package."""
