"""One module a command, `finetune`, `evaluate`, ...; `outputs/` is what a run writes.

May import everything but `cli`, `tpu_check/` and `notebook/`.
"""
