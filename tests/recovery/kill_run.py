"""A run under two replicas that is there to be killed, in a process of its own.

The processes are forked from a server that has imported TensorFlow and not used it yet: that saves
each of them some seconds.
"""

import faulthandler
import json
import multiprocessing
import os
import random
import time
from pathlib import Path

import keras
import keras_hub
import numpy as np
import tensorflow as tf

import tfbert
from tfbert.embedded import MODEL_DIRECTORY
from tfbert.fit.trainer import DistributedTrainer
from tfbert.models.classifier import BertClassifier
from tfbert.recovery.snapshot import HostCopy, state_variables
from tfbert.tasks.batch_sources import TrainingBatches, evaluation_dataset
from tfbert.tasks.batching import LengthBatches
from tfbert.tasks.labelled_data import LabelledData, label_ids, label_names
from tfbert.tasks.tokenization import tokenize
from tfbert.text.tokenizer import make_tokenizer

EPOCHS, STEPS, BATCH = 6, 10, 8


class Progress(keras.callbacks.Callback):
    """Tells the parent of every update, at a pace at which it can follow."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    def on_train_batch_end(self, batch, logs=None):
        self.connection.send(batch)
        time.sleep(0.02)


def train(folder, bert, xla, connection):
    """Trains to the end, and leaves `weights.npz` and `history.json` in the folder."""
    faulthandler.dump_traceback_later(200, exit=True)  # the parent waits for it
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tfbert.get_strategy("mirrored", 2)
    keras.utils.set_random_seed(3)
    if not xla:
        tf.config.experimental.enable_op_determinism()
    train_data, evaluation_data = _data()
    with strategy.scope():
        model = _bert() if bert else _bag_of_words()
        model.compile(
            tfbert.LAMB(0.01, jit_compile=xla),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
            jit_compile=xla,
            seed=5,
        )
    history = model.fit(
        train_data,
        validation_data=evaluation_data,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[keras.callbacks.CSVLogger(f"{folder}/log.csv"), Progress(connection)],
        recovery=tfbert.Recovery(f"{folder}/checkpoints", every_steps=1, monitor="val_loss"),
    )
    np.savez(f"{folder}/weights.npz", **HostCopy().copy(state_variables(model)))
    Path(folder, "history.json").write_text(json.dumps(history.history))
    faulthandler.cancel_dump_traceback_later()


def run_with_kills(folder, kills, seed, bert=False, xla=False):
    """Runs until it is done, and kills it so many times on the way.

    Args:
        folder: Where; it must not exist.
        kills: How many times.
        seed: Of the moments.
        bert: Whether the model is a BERT; else it is one that is quick to trace.
        xla: Whether XLA compiles; TensorFlow's operations are deterministic where it does not.
    """
    choice = random.Random(seed)
    os.makedirs(folder)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "keras_hub", "tensorflow_text", "sklearn"])
    for number in range(kills + 1):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=train, args=(str(folder), bert, xla, sender))
        process.start()
        sender.close()
        if number < kills:
            for _ in range(choice.randint(1, max(2, EPOCHS * STEPS // (kills + 1)))):
                receiver.recv()
            time.sleep(choice.uniform(0, 0.04))
            process.kill()
            process.join()
            assert process.exitcode == -9, "it was done before it could be killed"
        else:
            while process.is_alive():
                if receiver.poll(0.1):
                    try:
                        receiver.recv()
                    except EOFError:
                        break
            process.join()
            assert process.exitcode == 0


def results(folder):
    """`{name: array}` of the final state, the history, and the lines of the log."""
    with np.load(folder / "weights.npz") as file:
        weights = dict(file)
    history = json.loads((folder / "history.json").read_text())
    return weights, history, (folder / "log.csv").read_text()


def _bert():
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=8192,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=32,
    )
    return BertClassifier(backbone, 2)


class BagOfWords(DistributedTrainer, keras.Model):
    """The mean of the words' vectors, with dropout, and a linear layer."""


def _bag_of_words():
    names = ("token_ids", "segment_ids", "padding_mask")
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    vectors = keras.layers.Embedding(8192, 16, name="words")(inputs["token_ids"])
    mean = keras.layers.GlobalAveragePooling1D(name="mean")(vectors, mask=inputs["padding_mask"])
    dropped = keras.layers.Dropout(0.3, name="dropout")(mean)
    return BagOfWords(inputs, keras.layers.Dense(2, name="logits")(dropped))


def _data():
    train, evaluation = LabelledData("embedded", None, None, None, "utf-8").splits(None, 0.1, 0)
    labels = label_names(train, evaluation)
    vocabulary = (MODEL_DIRECTORY / "assets/tokenizer/vocabulary.txt").read_text().splitlines()
    tokenizer = make_tokenizer(vocabulary, True)
    lengths = np.array([32])
    rows = STEPS * BATCH
    texts = tokenize(tokenizer, train.texts[:rows], 32)
    held_out = tokenize(tokenizer, evaluation.texts[:13], 32)
    return (
        TrainingBatches(
            texts,
            LengthBatches(texts.lengths, BATCH, 1),
            lengths,
            label_ids(train, labels)[:rows],
            np.ones(2, np.float32),
        ),
        evaluation_dataset(
            held_out, LengthBatches(held_out.lengths, BATCH), lengths, label_ids(evaluation, labels)
        ),
    )
