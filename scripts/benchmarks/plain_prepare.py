"""BERT's data preparation the plain way: one process, Python lists, one token at a time.

The other side of `prepare.py`: BERT's published method (Devlin et al., 2018, section 3.1 and
appendix A) with nothing done for speed, as the scripts of its time do it. Prints one JSON object.

usage: python scripts/benchmarks/plain_prepare.py TEXT VOCAB OUTPUT MEGABYTES
"""

import json
import os
import random
import re
import sys
import time
import unicodedata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from tfbert.io.text_files import read_lines

LENGTH = 128
PREDICTIONS = 20


def is_whitespace(character):
    return character in " \t\n\r" or unicodedata.category(character) == "Zs"


def is_control(character):
    return character not in "\t\n\r" and unicodedata.category(character) in ("Cc", "Cf")


def is_ideograph(character):
    code = ord(character)
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0x20000 <= code <= 0x2A6DF
        or 0x2A700 <= code <= 0x2B73F
        or 0x2B740 <= code <= 0x2B81F
        or 0x2B820 <= code <= 0x2CEAF
        or 0xF900 <= code <= 0xFAFF
        or 0x2F800 <= code <= 0x2FA1F
    )


def is_punctuation(character):
    code = ord(character)
    if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
        return True
    return unicodedata.category(character).startswith("P")


def clean(text):
    """Without control characters, and with plain spaces."""
    output = []
    for character in text:
        if ord(character) in (0, 0xFFFD) or is_control(character):
            continue
        output.append(" " if is_whitespace(character) else character)
    return "".join(output)


def part_ideographs(text):
    """A space on either side of each ideograph."""
    output = []
    for character in text:
        output.append(f" {character} " if is_ideograph(character) else character)
    return "".join(output)


def strip_accents(word):
    output = []
    for character in unicodedata.normalize("NFD", word):
        if unicodedata.category(character) != "Mn":
            output.append(character)
    return "".join(output)


def split_punctuation(word):
    """A word and the punctuation in it, apart."""
    parts, begins = [], True
    for character in word:
        if is_punctuation(character):
            parts.append(character)
            begins = True
        elif begins:
            parts.append(character)
            begins = False
        else:
            parts[-1] += character
    return parts


def basic_tokens(text):
    """Words and punctuation, lower-cased, without accents: the published steps in their order."""
    tokens = []
    for word in part_ideographs(clean(text)).split():
        tokens.extend(split_punctuation(strip_accents(word.lower())))
    return tokens


def word_pieces(word, vocabulary):
    """The longest piece that fits, again and again."""
    if len(word) > 200:
        return ["[UNK]"]
    pieces, start = [], 0
    while start < len(word):
        end = len(word)
        while start < end:
            piece = word[start:end] if start == 0 else "##" + word[start:end]
            if piece in vocabulary:
                break
            end -= 1
        if start == end:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


def read_documents(path, vocabulary, limit):
    """Documents as lists of sentences as lists of pieces; also the bytes read."""
    documents, size = [], 0
    for _, line in read_lines(path):
        size += len(line.encode())
        sentences = re.split(r"(?<=[.!?])\s+", line.strip().replace("<br />", "\n"))
        tokenized = []
        for sentence in sentences:
            tokens = []
            for word in basic_tokens(sentence):
                tokens.extend(word_pieces(word, vocabulary))
            if tokens:
                tokenized.append(tokens)
        if tokenized:
            documents.append(tokenized)
        if size >= limit:
            break
    return documents, size


def cut(first, second, most, generator):
    """Takes tokens from either end of the longer one until both fit."""
    while len(first) + len(second) > most:
        longer = first if len(first) > len(second) else second
        if generator.random() < 0.5:
            del longer[0]
        else:
            longer.pop()


def make_instances(documents, index, words, generator):
    """The pairs of one document."""
    document, most = documents[index], LENGTH - 3
    target = most if generator.random() >= 0.1 else generator.randint(2, most)
    instances, chunk, size, at = [], [], 0, 0
    while at < len(document):
        chunk.append(document[at])
        size += len(document[at])
        if at == len(document) - 1 or size >= target:
            middle = generator.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            first = [token for sentence in chunk[:middle] for token in sentence]
            second = []
            is_random = len(chunk) == 1 or generator.random() < 0.5
            if is_random:
                other = index
                while other == index:
                    other = generator.randint(0, len(documents) - 1)
                start = generator.randint(0, len(documents[other]) - 1)
                for sentence in documents[other][start:]:
                    second.extend(sentence)
                    if len(second) >= target - len(first):
                        break
                at -= len(chunk) - middle
            else:
                second = [token for sentence in chunk[middle:] for token in sentence]
            cut(first, second, most, generator)
            tokens = ["[CLS]", *first, "[SEP]", *second, "[SEP]"]
            segments = [0] * (len(first) + 2) + [1] * (len(second) + 1)
            instances.append((*mask(tokens, words, generator), segments, is_random))
            chunk, size = [], 0
        at += 1
    return instances


def mask(tokens, words, generator):
    """15 % of the tokens: (tokens with masks, positions, what stood there)."""
    candidates = [i for i, token in enumerate(tokens) if token not in ("[CLS]", "[SEP]")]
    generator.shuffle(candidates)
    number = min(PREDICTIONS, max(1, round(len(tokens) * 0.15)))
    output = list(tokens)
    chosen = sorted(candidates[:number])
    for position in chosen:
        if generator.random() < 0.8:
            output[position] = "[MASK]"
        elif generator.random() < 0.5:
            output[position] = words[generator.randint(0, len(words) - 1)]
    return output, chosen, [tokens[position] for position in chosen]


def write(instances, vocabulary, path):
    """`tf.train.Example`s of integer lists."""
    with tf.io.TFRecordWriter(path) as writer:
        for tokens, positions, labels, segments, is_random in instances:
            ids = [vocabulary[token] for token in tokens]
            padding = [0] * (LENGTH - len(ids))
            slots = [0] * (PREDICTIONS - len(positions))
            features = {
                "input_ids": ids + padding,
                "input_mask": [1] * len(ids) + padding,
                "segment_ids": segments + padding,
                "masked_lm_positions": positions + slots,
                "masked_lm_ids": [vocabulary[label] for label in labels] + slots,
                "next_sentence_labels": [int(is_random)],
            }
            feature = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=value))
                for name, value in features.items()
            }
            weights = tf.train.FloatList(value=[1.0] * len(positions) + [0.0] * len(slots))
            feature["masked_lm_weights"] = tf.train.Feature(float_list=weights)
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def main():
    text, vocabulary_path, output, megabytes = sys.argv[1:]
    with open(vocabulary_path, encoding="utf-8") as file:
        words = file.read().splitlines()
    vocabulary = {word: number for number, word in enumerate(words)}
    generator = random.Random(0)
    begin = time.perf_counter()
    documents, size = read_documents(text, vocabulary, float(megabytes) * 1e6)
    instances = []
    for index in range(len(documents)):
        instances += make_instances(documents, index, words, generator)
    generator.shuffle(instances)
    write(instances, vocabulary, output)
    seconds = time.perf_counter() - begin
    print(json.dumps({"bytes": size, "seconds": seconds, "sequences": len(instances)}))


if __name__ == "__main__":
    main()
