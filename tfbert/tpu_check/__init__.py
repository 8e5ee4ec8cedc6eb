"""Compiles a recipe's training step for a TPU, without one.

May import everything but `cli` and `notebook/`.
"""
