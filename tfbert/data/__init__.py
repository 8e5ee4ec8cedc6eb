"""From text to batches: nothing in here knows of models or training."""
