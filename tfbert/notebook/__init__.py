"""What the notebooks show: the hardware, speed-ups, curves.

May import everything but `cli` and `tpu_check/`.
"""
