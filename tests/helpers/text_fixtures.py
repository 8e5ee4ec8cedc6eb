"""A small vocabulary that spells every ASCII text, and the way to the real data."""

import os
import random
import string
from pathlib import Path

import numpy as np
import pytest
from helpers.small_records import LENGTH

from tfbert.records.prepare import prepare
from tfbert.records.record_options import PrepareConfig
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary

WORDS = ("the", "movie", "was", "good", "bad", "it", "##ing", "watch", "and")


def ids_of(tokenizer, text):
    """The ids of a text of one sentence, as a list, from a `BertTokenizer`."""
    ids = np.frombuffer(tokenizer.encode_sentences([text]), tokenizer.vocabulary.dtype).tolist()
    assert ids[-1] == tokenizer.vocabulary.pad  # the end of the sentence
    return ids[:-1]


@pytest.fixture(scope="session")
def vocabulary():
    """Letters and digits, each also as a continuation, punctuation, and some words."""
    characters = string.ascii_lowercase + string.digits
    pieces = [
        *SPECIAL_TOKENS,
        "[unused0]",
        *characters,
        *("##" + character for character in characters),
        *string.punctuation,
        *WORDS,
    ]
    return Vocabulary(pieces)


@pytest.fixture(scope="session")
def vocabulary_file(vocabulary, tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("".join(piece + "\n" for piece in vocabulary.pieces))
    return path


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data, for tests that need more than made-up text."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    for path in (os.environ.get("TFBERT_TEST_DATA"), beside):
        if path and Path(path).is_dir():
            return Path(path)
    pytest.skip(f"needs real data: set TFBERT_TEST_DATA, or put it into {beside}")


@pytest.fixture(scope="session")
def make_text():
    """Makes a text of so many documents, one a line, each unlike the others."""
    words = ("the", "movie", "was", "good", "bad", "watching", "it", "and", "cats", "U.S.", "don't")

    def make_text(documents):
        generator = random.Random(0)
        lines = []
        for number in range(documents):
            sentences = []
            for _ in range(generator.randint(1, 12)):
                chosen = generator.choices(words, k=generator.randint(2, 15))
                sentences.append(" ".join(["The", str(number), *chosen]) + generator.choice(".!?"))
            lines.append(" ".join(sentences))
        return "\n".join(lines)

    return make_text


@pytest.fixture(scope="session")
def files_of():
    """Reads all files of a folder: names and bytes."""
    return lambda folder: {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture(scope="session")
def text_file(tmp_path_factory, make_text):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(make_text(400))
    return path


@pytest.fixture
def configure(text_file, vocabulary_file, tmp_path):
    """A `PrepareConfig` with small shards, of a text (a string or bytes) or of `text_file`."""

    def configure(text=None, **options):
        path = text_file
        if text is not None:
            path = tmp_path / "text.txt"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        defaults = {
            "input": [str(path)],
            "output": str(tmp_path / "records"),
            "vocab": str(vocabulary_file),
            "shard_mb": 0.02,
            "lengths": [64],
            "workers": 1,
            "progress": False,
        }
        return PrepareConfig(**(defaults | options))

    return configure


@pytest.fixture(scope="session")
def prepared(vocabulary_file, tmp_path_factory):
    """Folders of records from one text, by the kind of mask."""
    folder = tmp_path_factory.mktemp("prepared")
    text = folder / "text.txt"
    sentence = "The movie {0} was good. It was {0}. And bad {0}, watching it! "
    text.write_text("\n".join(sentence.format(i) * (i % 5 + 1) for i in range(500)))
    for masking in ("dynamic", "fixed", "none"):
        prepare(
            PrepareConfig(
                input=[str(text)],
                output=str(folder / masking),
                vocab=str(vocabulary_file),
                lengths=[LENGTH, 64],
                masking=masking,
                validation_fraction=0.1,
                shard_mb=0.012,
                workers=1,
                progress=False,
            )
        )
    return {masking: folder / masking for masking in ("dynamic", "fixed", "none")}
