"""LAMB, LARS, AdamW, loss scaling and schedules: native Keras.

The lowest folder, with `io/`: it imports no other part of the package and can be used alone.
"""
