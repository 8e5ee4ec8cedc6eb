"""Cloud TPUs from a laptop, by gcloud; `scripts/cloud_tpu.py` is the command. No TensorFlow."""
