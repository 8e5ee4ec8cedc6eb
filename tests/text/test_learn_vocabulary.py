import gzip
import random
import subprocess
import sys
from collections import Counter

import pytest
from helpers.text_fixtures import ids_of
from tokenizers import normalizers, pre_tokenizers

from tfbert.cli import main
from tfbert.errors import InputError, MachineError
from tfbert.text import learn_vocabulary as module
from tfbert.text.learn_vocabulary import count_words, learn_vocabulary
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocab_options import VocabConfig
from tfbert.text.vocabulary import SPECIAL_TOKENS, read_vocabulary

TEXT = "The movies were moving and the movers moved. Café! naïve [MASK] 1984 " * 20


@pytest.fixture
def learn(tmp_path):
    def learn(text=TEXT, folder=tmp_path, **options):
        path = folder / "text.txt"
        path.write_bytes(text.encode())
        defaults = {"input": [str(path)], "output": str(folder / "vocab.txt"), "size": 75}
        return learn_vocabulary(VocabConfig(**(defaults | {"progress": False} | options)))

    return learn


def test_what_a_vocabulary_holds(learn, place):
    pieces = learn(folder=place, unused=3).pieces
    assert pieces[:8] == (*SPECIAL_TOKENS, "[unused0]", "[unused1]", "[unused2]")
    assert len(pieces) == 75
    assert {"m", "##o", "e", ".", "1", "[", "the"} <= set(pieces)
    assert not any(character.isupper() for piece in pieces[8:] for character in piece)
    assert "é" not in pieces and "##e" in pieces
    assert read_vocabulary(place / "vocab.txt").pieces == pieces


def test_the_text_is_not_overwritten(learn, place):
    with pytest.raises(InputError, match=r"text.txt: is one of the input files"):
        learn(folder=place, input=[str(place)], output=str(place / "text.txt"))
    assert (place / "text.txt").read_text() == TEXT


def test_frequent_words_are_pieces(learn):
    vocabulary = learn(size=200)
    tokenizer = BertTokenizer(vocabulary)
    for word in ("the", "movies", "cafe", "1984"):
        assert len(ids_of(tokenizer, word)) == 1
    assert len(ids_of(tokenizer, "themovies")) > 1
    assert vocabulary.unknown not in ids_of(tokenizer, "eht")


def test_cased(learn):
    pieces = learn(lowercase=False, size=200).pieces
    assert {"The", "C", "##é"} <= set(pieces) or "Café" in pieces


def test_pieces_a_pair_must_occur_often_enough(learn):
    text = "frequent " * 50 + "rare"
    assert "rare" not in learn(text, size=60, min_count=5).pieces
    assert "rare" in learn(text, size=60, min_count=1).pieces


def test_rare_characters_are_left_out(learn):
    pieces = learn("aaa bbb ccc " * 9 + "xyz", size=60, alphabet=3).pieces
    assert {"a", "b", "c"} <= set(pieces) and not {"x", "y", "z"} & set(pieces)


def test_the_same_bytes_from_every_process(tmp_path):
    """The trainer's own numbers of characters differ from one process to the next."""
    generator = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(generator.choices(letters, k=generator.randint(2, 9))) for _ in range(3000)]
    text = tmp_path / "text.txt"
    text.write_text("\n".join(" ".join(generator.choices(words, k=20)) for _ in range(300)))
    outputs = []
    for number in range(2):
        output = tmp_path / f"vocab{number}.txt"
        command = [sys.executable, "-m", "tfbert", "vocab", "--size", "900", "--no-progress"]
        command += ["--input", str(text), "--output", str(output)]
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        assert finished.stdout == f"900 word pieces: {output}\n"
        outputs.append(output.read_bytes())
    assert len(set(outputs)) == 1


def test_the_order_of_documents_does_not_matter(learn):
    sentences = [f"word{i} other{i % 7} same" for i in range(100)]
    assert learn("\n".join(sentences)).pieces == learn("\n".join(sentences[::-1])).pieces


def test_counts_are_those_of_berts_basic_tokenization():
    texts = [TEXT, "one two, two; [SEP] Ünder x" + "y" * 200]
    reference = Counter()
    for text in texts:
        normal = normalizers.BertNormalizer(lowercase=True).normalize_str(text)
        words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normal)
        reference.update(word for word, _ in words if len(word) <= 100)
    assert count_words(texts, lowercase=True) == dict(reference)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_MOST_WORDS", 100)
    texts = [f"common common common rare{i}" for i in range(1000)]
    counts = count_words(texts, lowercase=True)
    assert counts["common"] == 3000 and len(counts) <= 101


def test_large_counts_are_scaled(learn, monkeypatch):
    expected = learn().pieces
    monkeypatch.setattr(module, "_MOST_TRAINING_WORDS", 50)
    monkeypatch.setattr(module, "_REPEATS", 3)
    assert set(learn().pieces) & set(expected) > set(expected[:40])


def test_packed_input_and_progress(tmp_path, capsys):
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    output = tmp_path / "vocab.txt"
    assert main(["vocab", "--input", str(tmp_path), "--size=75", f"--output={output}"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"75 word pieces: {output}\n" and "vocab:" in printed.err


def test_a_small_text_has_a_small_vocabulary(learn, caplog):
    vocabulary = learn("ab ab", size=50)
    assert f"the text yields {len(vocabulary)} word pieces, not 50" in caplog.text


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "there is no text in it"),
        (TEXT, {"size": 20}, "--size 20: special tokens, unused slots and the text's characters"),
        (TEXT, {"unused": 70}, "alone need"),
        (TEXT, {"output": "/"}, "/: must be a file in a folder that exists"),
        (TEXT, {"output": "missing/vocab.txt"}, "must be a file in a folder that exists"),
        (TEXT, {"size": 3}, "--size is 3: it must be at least 10"),
        (TEXT, {"documents": "page"}, "--documents is 'page'"),
    ],
)
def test_bad_input(learn, text, options, message):
    with pytest.raises(InputError, match=message):
        learn(text, **options)


def test_a_file_that_cannot_be_written(learn, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_bytes", full)
    with pytest.raises(MachineError, match=r"vocab.txt: No space left on device"):
        learn()
