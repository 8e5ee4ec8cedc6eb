"""Training records for pre-training: making them from text, and batches from them.

On the way in: `prepare` -> `workers` -> `shards`, and in each shard `sequences` (cuts text to
length) -> `masking` -> `tfrecords`. On the way out: `record_source` -> `reader` -> `batches`.

May import `tasks/`, `text/` and what these may import; never a model, nor `fit/`.
"""
