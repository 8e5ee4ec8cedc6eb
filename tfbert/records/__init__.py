"""Training records for pre-training: making them from text, and batches from them.

`sequences` -> `masking` -> `shards` -> `tfrecords` on the way in; `reader` -> `batches` on the way
out. May import `tasks/`, `text/` and what these may import; never a model, nor `fit/`.
"""
