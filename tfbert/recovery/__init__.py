"""What a killed run goes on from: checkpoints, the state of callbacks, preemption, divergence.

May import `optimizers/`, `hardware/`, `io/`, `tfbert.options` and `tfbert.errors`.
"""
