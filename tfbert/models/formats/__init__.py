"""Other programs' forms of a BERT: the names, shapes and settings of each, one module a form.

May import what `models/` may; imports no other part of `models/` but its layers.
"""
