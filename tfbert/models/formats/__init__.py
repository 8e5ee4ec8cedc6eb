"""BERT models of other programs: the names, shapes and settings of each form, one module a form.

`folder.open_folder` finds out which form a folder has and reads it. Nothing in a folder is executed
or unpickled, and no file outside of it is opened.

May import what `models/` may, and of `models/` only the encoder and its layers.
"""
