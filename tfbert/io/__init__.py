"""Files: paths on a disk and on `gs://`, whole-or-not-at-all writing, locks, reading text.

The lowest folder, with `optimizers/`: of the package it may import `tfbert.errors` alone.
"""
