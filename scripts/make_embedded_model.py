"""Makes tfbert/embedded/model: a vocabulary, and a tiny BERT with random weights.

usage: python scripts/make_embedded_model.py NOVELS

NOVELS is a folder of public-domain novels as .txt files. The vocabulary is learned from them and
from the embedded training sentences. The weights are random: they stand in for pre-trained ones.
"""

import sys
import tempfile
from pathlib import Path

import keras
import keras_hub

from tfbert.data.config import VocabConfig
from tfbert.data.tables import read_table
from tfbert.data.vocabulary import learn_vocabulary
from tfbert.embedded import MODEL_DIRECTORY, SENTIMENT_DIRECTORY
from tfbert.files import replacing
from tfbert.tokenizer import make_tokenizer

VOCABULARY_SIZE = 8_000
# The novels are 200 times as long; everyday words of today should have a chance beside them.
SENTENCE_REPEATS = 20
SEED = 0


def vocabulary_of(novels):
    """Word pieces of the novels and the training sentences, as `tfbert vocab` learns them."""
    sentences = read_table(SENTIMENT_DIRECTORY / "train.tsv", "tsv", "sentence", "label").texts
    with tempfile.TemporaryDirectory() as folder:
        text, vocabulary = Path(folder) / "sentences.txt", Path(folder) / "vocabulary.txt"
        text.write_text("\n".join(sentences * SENTENCE_REPEATS), encoding="utf-8")
        config = VocabConfig(
            input=[novels, text], output=vocabulary, size=VOCABULARY_SIZE, alphabet=120
        )
        learn_vocabulary(config)
        return vocabulary.read_text(encoding="utf-8").splitlines()


def main():
    vocabulary = vocabulary_of(sys.argv[1])
    keras.utils.set_random_seed(SEED)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=2,
        num_heads=2,
        hidden_dim=128,
        intermediate_dim=512,
        max_sequence_length=128,
    )
    tokenizer = make_tokenizer(vocabulary, lowercase=True)
    with replacing(MODEL_DIRECTORY) as directory:
        backbone.save_to_preset(str(directory))
        tokenizer.save_to_preset(str(directory))
        (directory / "README.md").write_text(
            "A BERT of 2 layers, 128 wide, with RANDOM weights: nothing was learned yet.\n"
            "Made by scripts/make_embedded_model.py; vocabulary from public-domain novels and\n"
            "the embedded sentiment sentences.\n"
        )
    print(f"{MODEL_DIRECTORY}: {len(vocabulary)} word pieces, {backbone.count_params()} weights")


if __name__ == "__main__":
    main()
