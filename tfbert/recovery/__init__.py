"""What a killed run continues from: checkpoints, the state of callbacks, preemption, divergence.

`hooks` says what `fit` calls and when, `session` what is then done, `checkpoints` which folders are
written, read and removed, `progress` where in its epochs a run is. May import `optimizers/`,
`hardware/`, `io/`, `tfbert.options` and `tfbert.errors`.
"""
