"""`tfbert glue`, all tasks of a benchmark over several seeds, and files for its leaderboard.

May import what `runs/` may.
"""
