"""What a run writes while it trains: its directory, status, curves, and the callbacks for them.

May import everything but the commands, `cli`, `tpu_check/` and `notebook/`.
"""
