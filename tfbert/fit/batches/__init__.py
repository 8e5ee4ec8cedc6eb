"""Batches: the data of an epoch, its division among replicas and micro-batches, class weights.

May import what `fit/` may, and of `fit/` itself `keras_internals` alone.
"""
