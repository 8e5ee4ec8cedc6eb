"""BERT: encoder and heads, what it can be loaded from, how it grows.

May import `fit/` (a model is a `DistributedTrainer`), `text/` and `optimizers/`, never `recipes/`.
"""
