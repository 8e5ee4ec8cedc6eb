"""The layers of an encoder: transformer, attention, dropout, and fast elementwise work.

May import `fit/` and what lies below it.
"""
