"""One module a command, `finetune`, `evaluate`, `predict`, `pretrain`, and the run directory.

May import everything but `cli`, `tpu_check/` and `notebook/`.
"""
