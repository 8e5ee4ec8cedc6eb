"""TensorFlow's SavedModel: text in, labels or scores out, without this package."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tfbert.models.exports.graph_tokenizer import GraphTokenizer
from tfbert.models.exports.plain import plain_classifier
from tfbert.models.trained_model import TrainedModel
from tfbert.tasks.problems.classification import Classification
from tfbert.tasks.problems.multilabel import Multilabel
from tfbert.tasks.problems.regression import Regression


def write_savedmodel(classifier: TrainedModel, folder: Path) -> None:
    """Writes a SavedModel with the signature `serving_default` of `TextServer.classify`.

    The model's head is one on the whole text. Where the model knows two segments, `pairs` of
    `TextServer.classify_pairs` as well.
    """
    server = TextServer(classifier)
    functions = {"serving_default": server.classify}
    if classifier.model.backbone.num_segments > 1:
        functions["pairs"] = server.classify_pairs
    # A module of its own: Keras' models would be saved with functions that nobody calls.
    module = tf.Module()
    module.resources = server.resources
    signatures = {name: function.get_concrete_function() for name, function in functions.items()}
    tf.saved_model.save(module, str(folder), signatures)


class TextServer:
    """What a SavedModel does.

    Both functions take any number of texts, of any length, and cut what is too long for the
    model. They return, for each text, `logits`, (batch, outputs) float32, and by the problem:

    - classification: `label`, strings (batch,); `probability`, the label's own, (batch,) float32;
      `labels`, all labels, strings (batch, outputs); `probabilities` in this order, (batch,
      outputs) float32;
    - multilabel: `labels` and `probabilities`, likewise: those above 0.5 are the text's;
    - regression: `score`, (batch,) float32, in the data's unit.
    """

    def __init__(self, classifier: TrainedModel) -> None:
        self._model = plain_classifier(classifier.model)
        self._tokenizer = GraphTokenizer(classifier.tokenizer)
        self._ids = classifier.tokenizer
        self._problem = classifier.problem
        self._labels = tf.constant(classifier.labels, tf.string)
        self._max_length = classifier.max_length

    @property
    def resources(self) -> list:
        """What has to be saved with the functions."""
        return [self._tokenizer, *(variable.value for variable in self._model.variables)]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def classify(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels texts; a text that is too long loses its end, as in training."""
        limit = self._max_length - 2
        return self._answer([self._tokenizer(text, most_words=limit)[:, :limit]])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([None], tf.string, name="second_text"),
        ]
    )
    def classify_pairs(self, text: tf.Tensor, second_text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Labels pairs of texts; of a pair that is too long the longer text loses its end."""
        first, second = self._tokenizer(text), self._tokenizer(second_text)
        first_size, second_size = _sizes_of_pairs(
            first.row_lengths(), second.row_lengths(), self._max_length - 3
        )
        return self._answer([_cut(first, first_size), _cut(second, second_size)])

    def _answer(self, parts: list[tf.RaggedTensor]) -> dict[str, tf.Tensor]:
        logits = self._model(self._inputs(parts), training=False)["logits"]
        return {**self._meaning(logits), "logits": logits}

    def _meaning(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the logits say, by the problem."""
        problem = self._problem
        if isinstance(problem, Regression):
            return {"score": logits[:, 0] * problem.deviation + problem.mean}
        labels = tf.repeat(self._labels[None], tf.shape(logits)[0], axis=0)
        if isinstance(problem, Multilabel):
            return {"labels": labels, "probabilities": tf.nn.sigmoid(logits)}
        if not isinstance(problem, Classification):  # one of the user's own
            return {}
        probabilities = tf.nn.softmax(logits)
        return {
            "label": tf.gather(self._labels, tf.argmax(logits, axis=1)),
            "probability": tf.reduce_max(probabilities, axis=1),
            "labels": labels,
            "probabilities": probabilities,
        }

    def _inputs(self, parts: list[tf.RaggedTensor]) -> dict[str, tf.Tensor]:
        """The model's inputs: [CLS], and after each part a [SEP] that belongs to its segment."""
        column = [parts[0].nrows(), 1]
        sep = tf.fill(column, self._ids.sep_token_id)
        segments = [tf.concat([part, sep], axis=1) for part in parts]
        segments[0] = tf.concat([tf.fill(column, self._ids.cls_token_id), segments[0]], axis=1)
        numbers = [
            part.with_flat_values(tf.fill(tf.shape(part.flat_values), number))
            for number, part in enumerate(segments)
        ]
        tokens = tf.concat(segments, axis=1)
        # The model takes a first token out of no texts, too.
        shape = tf.stack([tokens.nrows(), tf.maximum(tokens.bounding_shape(1), 1)])
        return {
            "token_ids": tokens.to_tensor(self._ids.pad_token_id, shape=shape),
            "segment_ids": tf.concat(numbers, axis=1).to_tensor(0, shape=shape),
            "padding_mask": tf.ones_like(tokens).to_tensor(0, shape=shape),
        }


def _sizes_of_pairs(first: tf.Tensor, second: tf.Tensor, limit: int) -> tuple[tf.Tensor, tf.Tensor]:
    """How many tokens stay of each text of a pair, (batch,) each, as in Hugging Face's tokenizers.

    The longer text is cut first; where both are too long they get the same, and the longer one, or
    the second, the odd token.
    """
    small, large = limit // 2, limit - limit // 2
    first_share = tf.where(first > second, large, small)
    first_share = tf.cast(first_share, first.dtype)
    first_size = tf.minimum(first, tf.maximum(limit - second, first_share))
    second_size = tf.minimum(second, tf.maximum(limit - first, limit - first_share))
    return first_size, second_size


def _cut(rows: tf.RaggedTensor, sizes: tf.Tensor) -> tf.RaggedTensor:
    """The first `sizes` elements of each row."""
    places = tf.ragged.range(rows.row_lengths()).flat_values
    kept = places < tf.repeat(sizes, rows.row_lengths())
    return tf.ragged.boolean_mask(rows, rows.with_values(kept))
