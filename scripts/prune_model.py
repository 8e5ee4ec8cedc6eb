"""Cuts a BERT down to some of its layers and the word pieces that a text needs.

    python scripts/prune_model.py MODEL --text FILE... --output DIR --layers 0 2 4
        [--vocabulary-size 8000] [--max-length 128] [--activation gelu_tanh] [--dropout 0]

What is left is where `tfbert pretrain --teacher MODEL --init DIR` begins: it learns to answer as
the whole model does (docs/pretraining.md). The word pieces are the most frequent ones of the text,
in MODEL's own tokenization; characters and special tokens stay, so that any word can be spelled.
Pre-training heads are cut down with the rest, where MODEL has them.
"""

import argparse
import itertools
import sys
from pathlib import Path

import keras
import numpy as np

from tfbert.errors import InputError
from tfbert.io.whole import replacing
from tfbert.models.encoder import BertEncoder, weights_by_path
from tfbert.models.pretrainer import (
    BertPretrainer,
    has_masked_lm_head,
    load_pretrainer,
    save_pretrainer,
)
from tfbert.options import require
from tfbert.text.corpus import find_sources, read_documents
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary

_DOCUMENTS = 1_000  # tokenized at a time


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="anything that --model of tfbert takes")
    parser.add_argument("--text", nargs="+", required=True, help="as --input of tfbert prepare")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--layers", type=int, nargs="+", required=True, help="kept, from 0")
    parser.add_argument("--vocabulary-size", type=int, default=8000)
    parser.add_argument("--max-length", type=int, default=128, help="positions that are kept")
    parser.add_argument("--activation", choices=("gelu", "gelu_tanh"), help="if not MODEL's")
    parser.add_argument("--dropout", type=float, help="if not MODEL's")
    options = parser.parse_args()
    if options.output.exists():
        parser.error(f"--output {options.output}: exists already")
    try:
        prune(options)
    except (InputError, OSError) as error:
        parser.error(str(error))


def prune(options):
    length, rate = options.max_length, options.dropout
    require(length > 2, "max_length", length, "at least 3, for a token between [CLS] and [SEP]")
    require(rate is None or 0 <= rate < 1, "dropout", rate, "at least 0 and below 1")
    model, tokenizer = load_pretrainer(options.model)
    whole = model.backbone
    if not set(options.layers) <= set(range(whole.num_layers)):
        raise InputError(f"--layers: {options.model} has layers 0 to {whole.num_layers - 1}")
    kept = kept_pieces(tokenizer, find_sources(options.text), options.vocabulary_size)
    config = whole.get_config()
    config |= {
        "vocabulary_size": len(kept),
        "num_layers": len(options.layers),
        "max_sequence_length": min(length, whole.max_sequence_length),
        "activation": options.activation or whole.activation,
        "dropout": whole.dropout if rate is None else rate,
    }
    config.pop("name", None)
    student = BertPretrainer(BertEncoder.from_config(config))
    copy_parts(model, student, options.layers, kept)
    if not has_masked_lm_head(options.model):  # those of `model` are new ones: they are not saved
        student.mlm_head = student.nsp_head = None
    small = BertTokenizer(
        Vocabulary([tokenizer.vocabulary.pieces[piece] for piece in kept]),
        tokenizer.lowercase,
        tokenizer.strip_accents,
        tokenizer.tokenize_chinese_chars,
    )
    with replacing(options.output) as temporary:
        save_pretrainer(student, small, temporary)
    print(f"{options.output}: {student.backbone.count_params():,} parameters", file=sys.stderr)


def kept_pieces(tokenizer, sources, size):
    """(size,) ids, rising: special tokens, characters, then the most frequent pieces."""
    pieces = tokenizer.vocabulary.pieces
    counts = np.zeros(len(pieces), np.int64)
    documents = (part.text for part in read_documents(sources, "blank"))
    while texts := list(itertools.islice(documents, _DOCUMENTS)):
        ids, _ = tokenizer.encode_in_a_row(texts)
        counts += np.bincount(ids, minlength=len(pieces))
    special = tokenizer.vocabulary.is_special()
    is_unused = np.array([piece.startswith("[unused") for piece in pieces])
    # Characters of other scripts that the text has not are left out: their words become [UNK].
    is_character = np.array([len(piece.removeprefix("##")) == 1 for piece in pieces])
    is_character &= np.array([piece.isascii() for piece in pieces]) | (counts > 0)
    first = np.flatnonzero(special & ~is_unused | is_character)
    if size < len(first):
        raise InputError(
            f"--vocabulary-size {size}: the special tokens and characters are {len(first)} already"
        )
    rest = np.setdiff1d(np.arange(len(pieces)), first)
    by_count = rest[np.argsort(-counts[rest], kind="stable")]
    return np.sort(np.concatenate([first, by_count[: size - len(first)]]))


def copy_parts(whole, part, layers, kept):
    """Gives the small model its share of the weights."""
    sources = weights_by_path(whole)
    for path, variable in weights_by_path(part).items():
        name = path
        for number, layer in enumerate(layers):
            old = f"transformer_layer_{number}/"
            if path.startswith(old) or f"/{old}" in path:
                name = path.replace(old, f"transformer_layer_{layer}/")
        value = keras.ops.convert_to_numpy(sources[name])
        if "token_embedding" in path or path == "mlm_head/bias":
            value = value[kept]
        variable.assign(value[: variable.shape[0]])


if __name__ == "__main__":
    main()
