"""Texts a second: our tokenizer, with and without remembered words, beside KerasHub's in a graph.

    python scripts/benchmarks/tokenizer.py [DATA]

DATA is a folder with `bert-base-uncased-vocab.txt`, `glue/SST-2/train.tsv` (short sentences) and
`imdb/train.tsv.gz` (long documents).
"""

import argparse
import gzip
import os
import time
from pathlib import Path

import tensorflow as tf

from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import read_vocabulary


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("TFBERT_TEST_DATA"))
    data = Path(parser.parse_args().data)
    sentences = (data / "glue/SST-2/train.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    reviews = gzip.decompress((data / "imdb/train.tsv.gz").read_bytes()).decode().split("\n")[:-1]
    vocabulary = read_vocabulary(data / "bert-base-uncased-vocab.txt")
    stock = BertTokenizer(vocabulary).to_keras_hub()
    in_a_graph = tf.function(stock, input_signature=[tf.TensorSpec([None], tf.string)])
    for name, texts in (
        ("SST-2 sentences", [line.split("\t")[0] for line in sentences]),
        ("IMDB reviews", [line.split("\t")[-1] for line in reviews]),
    ):
        tokenizer = BertTokenizer(vocabulary)
        for way, tokenize in (
            ("first time", tokenizer.encode),
            ("words known", tokenizer.encode),
            ("KerasHub", lambda texts: in_a_graph(tf.constant(texts))),
        ):
            began = time.perf_counter()
            tokenize(texts)
            print(f"{name:16} {way:12} {len(texts) / (time.perf_counter() - began):9,.0f}/s")


if __name__ == "__main__":
    main()
