"""The scripts that the embedded model is made by: a model is cut down, and its weights packed."""

import importlib
import json
import pathlib
import shutil

import h5py
import numpy as np
import pytest

from tfbert.embedded import SENTIMENT_DIRECTORY
from tfbert.models.pretrainer import HEADS_FILE, load_pretrainer, save_pretrainer
from tfbert.text.tokenizer import BertTokenizer

SIZE, RATE = ("--vocabulary-size", 20), ("--dropout", 2)
SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch):
    """A function: a script's `main`, called with words of a command line."""

    def run(name, *words):
        monkeypatch.syspath_prepend(str(SCRIPTS))
        monkeypatch.setattr("sys.argv", [name, *map(str, words)])
        importlib.import_module(name).main()

    return run


@pytest.fixture
def whole(small_model, tmp_path):
    """The small model with heads, and a tokenizer that keeps accents."""
    model, tokenizer = load_pretrainer(str(small_model))
    model.mlm_head.bias.assign(np.arange(len(tokenizer.vocabulary)))
    accents = BertTokenizer(tokenizer.vocabulary, lowercase=True, strip_accents=False)
    save_pretrainer(model, accents, tmp_path / "whole")
    return tmp_path / "whole"


@pytest.fixture
def prune(script, tmp_path):
    """A function: cuts a model down to the second of two layers and some of the word pieces."""
    text = tmp_path / "text.txt"
    text.write_text((SENTIMENT_DIRECTORY / "train.tsv").read_text())
    words = ["--text", text, "--layers", 1, "--vocabulary-size", 1500, "--max-length", 32]

    def make(model):
        output = tmp_path / "pruned"
        script("prune_model", model, *words, "--output", output, "--dropout", 0.2)
        return output

    return make


@pytest.fixture
def pruned(prune, whole):
    return prune(whole)


def test_what_is_kept_is_the_models(pruned, whole):
    whole, tokenizer = load_pretrainer(str(whole))
    part, fewer = load_pretrainer(str(pruned))
    assert (fewer.lowercase, fewer.strip_accents) == (True, False)
    assert (part.backbone.num_layers, part.backbone.max_sequence_length) == (1, 32)
    assert part.backbone.dropout == 0.2
    kept = [tokenizer.vocabulary.ids[piece] for piece in fewer.vocabulary.pieces]
    assert len(kept) == 1500 and kept == sorted(kept)
    tables = [
        np.array(model.backbone.token_embedding.embeddings) for model in (whole, part)
    ]  # (pieces, width)
    np.testing.assert_array_equal(tables[0][kept], tables[1])
    for old, new in (
        (whole.backbone.transformer_layers[1], part.backbone.transformer_layers[0]),
        (whole.mlm_head.dense, part.mlm_head.dense),
        (whole.nsp_head, part.nsp_head),
    ):
        for ours, theirs in zip(new.get_weights(), old.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.array(part.mlm_head.bias), kept)


def test_a_model_without_heads_gets_none(prune, small_model):
    assert not (prune(small_model) / HEADS_FILE).exists()


def test_the_pieces_of_the_text_are_kept_and_any_word_can_be_spelled(pruned, small_model):
    _, tokenizer = load_pretrainer(str(small_model))
    _, fewer = load_pretrainer(str(pruned))
    text = "the hotel was wonderful"
    pieces = [tokenizer.vocabulary.pieces[i] for i in tokenizer.encode([text])[0]]
    assert [fewer.vocabulary.pieces[i] for i in fewer.encode([text])[0]] == pieces
    assert fewer.unk_token_id not in fewer.encode(["zyzzyva qwxk 1987"])[0]


def share_of_bytes(path):
    """What a file's largest array takes in it, as a share of its numbers' own bytes."""
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: found.append(item) if hasattr(item, "nbytes") else None)
        largest = max(found, key=lambda item: item.nbytes)
        return largest.id.get_storage_size() / largest.nbytes


def test_packed_weights_are_near_and_small(script, pruned, tmp_path):
    folder = shutil.copytree(pruned, tmp_path / "packed")
    script("pack_weights", folder, "--bits", 3, "--dropout", 0.1)
    before, _ = load_pretrainer(str(pruned))
    after, _ = load_pretrainer(str(folder))
    for old, new in zip(before.get_weights(), after.get_weights(), strict=True):
        # Half of the last bit that is kept: 2^-4 of a number.
        np.testing.assert_allclose(new, old, rtol=2**-4 if old.ndim > 1 else 0)
        assert old.ndim == 1 or not np.array_equal(old, new) or not old.any()
    assert share_of_bytes(folder / "model.weights.h5") < 0.5
    assert json.loads((folder / "config.json").read_text())["config"]["dropout"] == 0.1


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("prune_model", ["MODEL", "--text", "nowhere.txt", "--layers", 0], "nowhere.txt"),
        ("prune_model", ["MODEL", "--text", "TEXT", "--layers", 7], "has layers 0 to 1"),
        ("prune_model", ["MODEL", "--text", "TEXT", "--layers", 0, *SIZE], "characters are"),
        ("prune_model", ["MODEL", "--text", "TEXT", "--layers", 0, *RATE], "--dropout is 2.0: it"),
        ("pack_weights", ["nowhere"], "no such file"),
        ("pack_weights", ["DAMAGED"], "file signature not found"),
        ("pack_weights", ["DAMAGED", *RATE], "--dropout is 2.0: it must be at least 0 and below"),
    ],
)
def test_bad_input_is_one_line(script, small_model, tmp_path, capsys, name, words, message):
    (tmp_path / "text.txt").write_text("a\n")
    (tmp_path / "model.weights.h5").write_text("nothing of HDF5")
    given = {"MODEL": small_model, "TEXT": tmp_path / "text.txt", "DAMAGED": tmp_path}
    words = [given.get(word, word) for word in words]
    output = ["--output", tmp_path / "out"] if name == "prune_model" else []
    with pytest.raises(SystemExit) as ended:
        script(name, *words, *output)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
