"""The one training loop: `trainer` runs epochs, `train_function` runs updates.

It serves pre-training, staged training and every task. Nothing else knows of replicas, apart from
`optimizers/reduction`. May import `recovery/`, `optimizers/` and what lies below these.
"""
