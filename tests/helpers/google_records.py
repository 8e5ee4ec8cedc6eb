"""Records as Google's `create_pretraining_data.py` writes them."""

import numpy as np
import tensorflow as tf

GOOGLES_NAMES = {
    "token_ids": "input_ids",
    "padding_mask": "input_mask",
    "segment_ids": "segment_ids",
    "mask_positions": "masked_lm_positions",
    "mask_ids": "masked_lm_ids",
    "mask_weights": "masked_lm_weights",
    "next_sentence_labels": "next_sentence_labels",
}
# The Model Garden's, with `use_v2_feature_names`.
MODEL_GARDENS_NAMES = GOOGLES_NAMES | {
    "token_ids": "input_word_ids",
    "segment_ids": "input_type_ids",
}


def write_like_google(path, batch, compression="", packed=False, names=GOOGLES_NAMES):
    """Records as Google's script writes them: lists of int64, floats for the weights."""
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in range(len(next(iter(batch.values())))):
            feature = {}
            for name, values in batch.items():
                value = np.ravel(values[row])
                if packed:
                    kind = {"bytes_list": tf.train.BytesList(value=[value.tobytes()])}
                elif name == "mask_weights":
                    kind = {"float_list": tf.train.FloatList(value=value)}
                else:
                    kind = {"int64_list": tf.train.Int64List(value=value)}
                feature[names[name]] = tf.train.Feature(**kind)
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
