"""Labelled data sets for fine-tuning: reading them, their tokens, and batches by length.

May import `text/` and what that may import.
"""
