"""Labelled data for fine-tuning: known tasks, what is asked of a text, examples as batches.

`known_tasks` says where data of a known name stands, `problem` what a kind of problem must have,
`problems/` has one file for each kind. The data's way: `formats/` -> `labelled_data` -> a problem's
`encode` -> `tokens/` (cut to length, batched).

May import `text/` and what that may import.
"""
