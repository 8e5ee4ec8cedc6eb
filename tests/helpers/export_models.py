"""Small models with weights away from their initial values, and a text of every kind."""

import keras
from helpers.small_encoder import move_weights

from tfbert.models.encoder import BertEncoder
from tfbert.models.trained_model import TrainedModel, make_model
from tfbert.tasks.problems.classification import Classification
from tfbert.tasks.problems.multilabel import Multilabel
from tfbert.tasks.problems.regression import Regression
from tfbert.tasks.problems.span import Span
from tfbert.tasks.problems.tagging import Tagging
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary

SETTINGS = {"tanh": ("gelu_tanh", 1e-12), "erf": ("gelu", 1e-5)}
PIECES = (
    *SPECIAL_TOKENS,
    *("the", "day", "soup", "cold", "##er", "##s", "un", "##us", "##ual", "cafe", "strasse"),
    *("straße", "中", "文", "²", "ﬁne", "[", "]", "mask", "sep", ".", ",", "!", "a", "##a", "##b"),
    *("x", "İ", "i", "Σ", "σ", "##σ", "ᄒ", "##ᅡ", "##ᆫ", "가", "é", "##é", "e", "##e", "Café"),
)
TEXTS = [
    "The soup was colder, the day UNUSUAL!",
    "",
    " \t\r\n\u00a0\u2003\u3000 ",
    "Café cafe\u0301 Straße ﬁne ² İ Σaσ",
    "中文a中 한 가 ᄒ",
    "soft\u00adhyphen a\u200ba\x00a\x85a\ufffda",
    "[SEP] [MASK] [UNK]",
    "a" * 100 + " " + "a" * 101,
    "é" * 100 + " " + "é" * 101,
    "the soups. " * 60,
]


PROBLEMS = {
    "classification": Classification(["bad", "good", "so so"], "accuracy"),
    "multilabel": Multilabel(["bad", "good", "so so"], "macro_f1"),
    "regression": Regression([], "pearson", mean=3.0, deviation=2.0),
    "tagging": Tagging(["B-day", "I-day", "O"], "f1"),
    "span": Span(["start", "end"], "f1", True),
}


def make_small_classifier(setting):
    """A `TrainedModel` with three labels, for texts of up to 24 tokens."""
    return make_small_model("classification", setting)


def make_small_model(problem, setting="tanh"):
    """A `TrainedModel` for one of `PROBLEMS`, for texts of up to 24 tokens."""
    activation, epsilon = SETTINGS[setting]
    keras.utils.set_random_seed(2)
    encoder = BertEncoder(
        vocabulary_size=len(PIECES) + 3,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=32,
        activation=activation,
        layer_norm_epsilon=epsilon,
    )
    model = move_weights(make_model(encoder, PROBLEMS[problem]), 0.3)
    return TrainedModel(model, BertTokenizer(Vocabulary(PIECES)), PROBLEMS[problem], 24)
