import io
import types

import numpy as np
import pytest
from helpers.foreign_models import VARIANTS, copy_variant

from tfbert.errors import InputError
from tfbert.models.pretrainer import load_pretrainer
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.masked_words import answers, load_masked_word_model
from tfbert.runs.predict import predict


def predicted(tmp_path, lines, kind="masked_lm"):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(lines) + "\n")
    config = PredictConfig(model=str(VARIANTS / kind), input=str(path), progress=False)
    return list(predict(config))


def test_each_mask_gets_its_best_words(tmp_path):
    lines = ["the [MASK] was [MASK].", "good", "[MASK]"]
    found = predicted(tmp_path, lines)
    assert [answer["text"] for answer in found] == lines
    assert [len(answer["words"]) for answer in found] == [2, 0, 1]
    model, tokenizer = load_pretrainer(str(VARIANTS / "masked_lm"), next_sentence=False)
    pieces = tokenizer.vocabulary.pieces
    words = ("[CLS]", "the", "[MASK]", "was", "[MASK]", ".", "[SEP]")
    ids = np.array([[pieces.index(word) for word in words]], "int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": 0 * ids + 1}
    logits = np.float64(model({**inputs, "mask_positions": np.array([[2, 4]])})["mlm"][0])
    for values, best in zip(logits, found[0]["words"], strict=True):
        probabilities = np.exp(values) / np.exp(values).sum()
        assert [answer["word"] for answer in best] == [
            pieces[number] for number in np.argsort(-probabilities)[:5]
        ]
        expected = np.sort(probabilities)[::-1][:5]
        np.testing.assert_allclose([a["probability"] for a in best], expected, rtol=1e-4)


def test_a_long_line_is_cut_around_its_masks():
    model = load_masked_word_model(str(VARIANTS / "masked_lm"))  # of 12 tokens
    assert model is not None
    (found,) = answers(model, ["bad " * 30 + "good [MASK] good" + " bad" * 30])
    (near,) = answers(model, ["bad bad bad good [MASK] good bad bad bad bad"])
    assert len(found["words"]) == 1 and len(near["words"]) == 1
    with pytest.raises(InputError, match="32 tokens apart, and the model sees 10"):
        list(answers(model, ["[MASK]" + " bad" * 30 + "[MASK]"]))


def test_a_model_without_such_a_head_and_lines_without_mask(tmp_path):
    assert load_masked_word_model(str(VARIANTS / "classifier")) is None
    with pytest.raises(InputError, match=r"train one with .*, or give texts with \[MASK\]"):
        predicted(tmp_path, ["good"])
    folder = copy_variant("masked_lm", tmp_path / "untied", tie_word_embeddings=False)
    assert load_masked_word_model(str(folder)) is None


def test_a_typed_line_is_answered_before_the_next_is_read(monkeypatch):
    read = []

    class Terminal(io.BytesIO):
        def isatty(self):
            return True

        def readline(self, *limit):
            read.append(super().readline(*limit))
            return read[-1]

        def __iter__(self):
            return iter(self.readline, b"")

    typed = Terminal(b"a [MASK] film\n" * 100)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=typed, isatty=typed.isatty))
    found = predict(PredictConfig(model=str(VARIANTS / "masked_lm"), progress=False))
    assert next(found)["text"] == "a [MASK] film"
    assert len(read) < 5
