"""Makes tfbert/embedded/model: a vocabulary, and a tiny BERT with random weights.

usage: python scripts/make_embedded_model.py NOVELS

NOVELS is a folder of public-domain novels as .txt files. The vocabulary is learned from them and
from the embedded training sentences. The weights are random: they stand in for pre-trained ones.
"""

import sys
from pathlib import Path

import keras
import keras_hub
from tokenizers import BertWordPieceTokenizer

from tfbert.data.tables import read_table
from tfbert.embedded import MODEL_DIRECTORY, SENTIMENT_DIRECTORY
from tfbert.tokenizer import make_tokenizer
from tfbert.training.run_directory import replacing

VOCABULARY_SIZE = 8_000
# The novels are 200 times as long; everyday words of today should have a chance beside them.
SENTENCE_REPEATS = 20
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SEED = 0


def learn_vocabulary(novels):
    """Word pieces of the training sentences and the novels, most frequent merges first."""
    sentences = read_table(SENTIMENT_DIRECTORY / "train.tsv", "tsv", "sentence", "label").texts
    paths = sorted(Path(novels).glob("*.txt"))
    if not paths:
        sys.exit(f"{novels}: no .txt files")
    texts = [path.read_text(encoding="utf-8-sig") for path in paths] + sentences * SENTENCE_REPEATS
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(
        texts,
        vocab_size=VOCABULARY_SIZE,
        limit_alphabet=120,
        initial_alphabet=[chr(code) for code in range(33, 127)],
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
    )
    vocabulary = trainer.get_vocab()
    return sorted(vocabulary, key=vocabulary.get)


def main():
    vocabulary = learn_vocabulary(sys.argv[1])
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
