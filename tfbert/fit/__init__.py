"""The one training loop: `trainer` runs epochs, `train_function` runs updates.

It serves pre-training, staged training and every task, and it alone runs several replicas; the sum
over them is `optimizers/reduction`. May import `recovery/`, `optimizers/` and what these import.
"""
