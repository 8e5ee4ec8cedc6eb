"""TensorFlow: replicas are those of `tf.distribute`, and batches come out of `tf.data`."""
