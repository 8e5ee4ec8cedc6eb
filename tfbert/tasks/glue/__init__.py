"""GLUE's benchmark: its tasks' folders and files, and the leaderboard's form of predictions.

The tasks themselves are entries of `known_tasks`. May import what `tasks/` may.
"""
