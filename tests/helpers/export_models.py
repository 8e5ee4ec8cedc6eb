"""Small models with weights away from their initial values, and a text of every kind."""

import keras
from helpers.small_encoder import move_weights

from tfbert.models.classifier import BertClassifier, TrainedClassifier
from tfbert.models.encoder import BertEncoder
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


def make_small_classifier(setting):
    """A `TrainedClassifier` with three labels, for texts of up to 24 tokens."""
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
    model = move_weights(BertClassifier(encoder, num_classes=3), 0.3)
    return TrainedClassifier(model, BertTokenizer(Vocabulary(PIECES)), ["bad", "good", "so so"], 24)
