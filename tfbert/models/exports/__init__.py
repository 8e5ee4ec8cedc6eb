"""A trained BERT in other programs' forms: one module a format, and what they share.

May import the rest of `models/`. Each format's module writes a folder; the command around it,
which takes a run and writes whole or not at all, is `tfbert.runs.export`.
"""
