"""A run under two replicas that is to be killed, in a process of its own.

The processes are forked from a server that has imported TensorFlow and not used it yet: that saves
each of them some seconds.
"""

import contextlib
import faulthandler
import json
import multiprocessing
import os
import random
import time
from pathlib import Path

import keras
import numpy as np
from recovery_model import Batches, X, Y, make_model

import tfbert
from tfbert.recovery.snapshot import HostCopy, state_variables

EPOCHS, STEPS, BATCH = 6, 10, 8  # of the BERT
UPDATES = EPOCHS * Batches.steps_per_epoch
# Modules that the processes share; one that is not on PYTHONPATH is passed over without a word.
PRELOADED = ["tfbert.fit.trainer", "tfbert.optimizers.lamb", "tfbert.recovery.session"]


class Progress(keras.callbacks.Callback):
    """Tells the parent of every update, at a pace at which it can follow."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    def on_train_batch_end(self, batch, logs=None):
        self.connection.send(batch)
        time.sleep(0.02)


def train(folder, bert, xla, connection):
    """`fit` in a process of its own, on two replicas."""
    faulthandler.dump_traceback_later(200, exit=True)  # the parent waits for it
    strategy = tfbert.get_strategy("mirrored", 2)
    keras.utils.set_random_seed(3)
    if bert:
        if not xla and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.experimental.enable_op_determinism()
        model, train_data, evaluation_data = _bert(strategy, xla)
        fit(folder, model, train_data, evaluation_data, Progress(connection))
    else:
        fit(folder, make_model(strategy), Batches(), (X[:13], Y[:13]), Progress(connection))
    faulthandler.cancel_dump_traceback_later()


def fit(folder, model, train_data, evaluation_data, *callbacks):
    """Trains to the end, and leaves `weights.npz` and `history.json` in the folder."""
    history = model.fit(
        train_data,
        validation_data=evaluation_data,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[keras.callbacks.CSVLogger(f"{folder}/log.csv"), *callbacks],
        recovery=tfbert.Recovery(f"{folder}/checkpoints", every_steps=1, monitor="val_loss"),
    )
    np.savez(f"{folder}/weights.npz", **HostCopy().copy(state_variables(model)))
    Path(folder, "history.json").write_text(json.dumps(history.history))


def run_with_kills(folder, kills, seed, bert=False, xla=False):
    """Runs until it is done, and kills it so many times on the way.

    Args:
        folder: Where; it must not exist.
        kills: How many times.
        seed: Of the moments.
        bert: Whether the model is a BERT on texts; else it is one that is quick to trace.
        xla: Whether XLA compiles the BERT; where it does not, TensorFlow's operations are
            deterministic. Those of the other model are in any case.
    """
    choice = random.Random(seed)
    os.makedirs(folder)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *(["keras_hub"] if bert else [])])
    for number in range(kills + 1):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=train, args=(str(folder), bert, xla, sender))
        process.start()
        sender.close()
        if number < kills:
            for _ in range(choice.randint(1, max(2, UPDATES // (kills + 1)))):
                receiver.recv()
            time.sleep(choice.uniform(0, 0.04))
            process.kill()
            process.join()
            assert process.exitcode == -9, "it was done before it could be killed"
        else:
            with contextlib.suppress(EOFError):  # when the process ends
                while True:
                    receiver.recv()
            process.join()
            assert process.exitcode == 0


def results(folder):
    """`{name: array}` of the final state, the history, and the lines of the log."""
    with np.load(folder / "weights.npz") as file:
        weights = dict(file)
    history = json.loads((folder / "history.json").read_text())
    return weights, history, (folder / "log.csv").read_text()


def _bert(strategy, xla):
    """A compiled classifier, and embedded texts to train it on and to evaluate it."""
    import keras_hub

    from tfbert.embedded import MODEL_DIRECTORY
    from tfbert.tasks.labelled_data import LabelledData
    from tfbert.tasks.problems.classification import label_ids, label_names
    from tfbert.tasks.tokens.batch_sources import TrainingBatches
    from tfbert.tasks.tokens.batching import LengthBatches
    from tfbert.tasks.tokens.encoded import RowTargets
    from tfbert.tasks.tokens.tokenization import tokenize
    from tfbert.text.tokenizer import BertTokenizer
    from tfbert.text.vocabulary import read_vocabulary

    with strategy.scope():
        backbone = keras_hub.models.BertBackbone(
            vocabulary_size=8192,
            num_layers=1,
            num_heads=2,
            hidden_dim=16,
            intermediate_dim=32,
            max_sequence_length=32,
        )
        model = tfbert.BertClassifier(backbone, 2)
        model.compile(
            tfbert.LAMB(0.01, jit_compile=xla),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            weighted_metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
            jit_compile=xla,
            seed=5,
        )
    train, evaluation = LabelledData("embedded", None, None, None, "utf-8").splits(None, 0.1, 0)
    labels = label_names(train.labels, evaluation.labels)
    vocabulary = read_vocabulary(MODEL_DIRECTORY / "assets/tokenizer/vocabulary.txt")
    tokenizer = BertTokenizer(vocabulary)
    lengths = np.array([32])
    rows = STEPS * BATCH
    texts = tokenize(tokenizer, train.texts[:rows], 32)
    held_out = tokenize(tokenizer, evaluation.texts[:13], 32)

    def batches_of(tokens, examples, seed):
        ids = label_ids(examples.labels[: len(tokens)], labels)
        targets = RowTargets(ids, np.ones(len(ids), np.float32))
        return TrainingBatches(tokens, LengthBatches(tokens.lengths, BATCH, seed), lengths, targets)

    held_out_batches = batches_of(held_out, evaluation, None)
    one_pass = held_out_batches.dataset(0, 0).take(held_out_batches.steps_per_epoch)
    return model, batches_of(texts, train, 1), one_pass
