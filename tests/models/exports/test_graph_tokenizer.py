import numpy as np
import pytest
import tensorflow as tf
from helpers.export_models import PIECES, TEXTS

from tfbert.models.exports.characters import ITSELF, PAGE, character_pages
from tfbert.models.exports.graph_tokenizer import GraphTokenizer
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary, read_vocabulary

SETTINGS = {
    "uncased": {},
    "cased": {"lowercase": False},
    "accents": {"strip_accents": False, "tokenize_chinese_chars": False},
}


def in_a_graph(tokenizer):
    """A function from texts to lists of ids."""
    signature = [tf.TensorSpec([None], tf.string)]
    function = tf.function(GraphTokenizer(tokenizer).__call__, input_signature=signature)
    return lambda texts: function(tf.constant(texts, tf.string)).to_list()


def random_texts(count):
    """Characters of all planes that hold some, among letters and spaces."""
    random = np.random.default_rng(0)
    codes = [*range(1, 0x3000), *range(0xA000, 0xD800), *range(0xE000, 0x10000)]
    codes += [*range(0x1D000, 0x1E000), *range(0x1F000, 0x1FB00), *range(0xE0000, 0xE0100)]
    odd = "".join(map(chr, codes))
    texts = []
    for size in random.integers(1, 40, count):
        characters = [*odd[:1], *"abcdeISOé .,-\t"] * 6
        texts.append(
            "".join(
                odd[random.integers(len(odd))]
                if random.random() < 0.5
                else random.choice(characters)
                for _ in range(size)
            )
        )
    return texts


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_ids_are_those_of_the_tokenizer(settings):
    tokenizer = BertTokenizer(Vocabulary(PIECES), **settings)
    texts = TEXTS + random_texts(400)
    expected = [ids.tolist() for ids in tokenizer.encode(texts)]
    assert in_a_graph(tokenizer)(texts) == expected


def test_any_batch():
    encode = in_a_graph(BertTokenizer(Vocabulary(PIECES)))
    assert encode([]) == []
    assert encode([""]) == encode(["\u200b"]) == [[]]
    assert encode([b"a\xff\xfea"]) == encode(["aa"])  # not UTF-8


def test_natural_text(real_data):
    path = real_data / "bert-base-uncased-vocab.txt"
    if not path.exists():
        pytest.skip(f"needs {path}")
    tokenizer = BertTokenizer(read_vocabulary(path))
    lines = (real_data / "wikitext2" / "valid.txt").read_text("utf-8").splitlines()[:1000]
    expected = [ids.tolist() for ids in tokenizer.encode(lines)]
    assert in_a_graph(tokenizer)(lines) == expected


def test_the_table_of_characters():
    """Against what BERT's own code says of some characters."""
    pages, numbers = character_pages(BertTokenizer(Vocabulary(PIECES)))

    def becomes(character):
        page, place = divmod(ord(character), PAGE)
        row = pages[numbers[page], place]
        return "".join(character if code == ITSELF else chr(code) for code in row if code)

    assert list(map(becomes, "aAé\u00a0\u200b.中ßΣ")) == [
        "a",
        "a",
        "e",
        " ",
        "",
        " . ",
        " 中 ",
        "ß",
        "σ",
    ]
    assert becomes("≠") == " = "  # the stroke is an accent
