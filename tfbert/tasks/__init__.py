"""Labelled data for fine-tuning: what a task is, reading its data, its tokens, batches by length.

`known_tasks` is where a new task goes. The data's way: `tables` (in `formats/`) or `documents` ->
`labelled_data` -> `tokenization` (cuts a text to length) -> `batching` -> `batch_sources`.

May import `text/` and what that may import.
"""
