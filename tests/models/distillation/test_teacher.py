"""Which models may teach, and what is said of the others."""

import numpy as np
import pytest
from helpers.small_distilled import small_teacher

from tfbert.errors import InputError
from tfbert.models.distillation.teacher import load_teacher
from tfbert.models.sources import load_encoder
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def pieces():
    return load_encoder("embedded").tokenizer.vocabulary.pieces


def student(pieces, **options):
    return BertTokenizer(Vocabulary(pieces), **options)


def test_ids_lead_to_the_same_word_pieces(pieces, caplog):
    caplog.set_level("INFO", "tfbert")
    assert load_teacher("embedded", "float32", student(pieces), 32).ids is None
    assert "teacher: embedded, 3 layers, 384 wide" in caplog.text
    part = [*pieces[:5], *pieces[:200:-3]]
    teacher = load_teacher("embedded", "mixed_bfloat16", student(part), 32)
    assert [pieces[number] for number in teacher.ids] == part
    assert teacher.backbone.dropout == 0
    assert teacher.backbone.compute_dtype == "bfloat16"


def test_missing_word_pieces_are_named(pieces):
    new = [f"newword{number}" for number in range(7)]
    message = (
        r"^--teacher embedded: its vocabulary lacks 7 of the 8,007 word pieces of the student: "
        r"newword0, newword1, newword2, newword3, newword4, \.\.\.; prepare the text with the "
        r"teacher's vocabulary, or with a part of it$"
    )
    with pytest.raises(InputError, match=message):
        load_teacher("embedded", "float32", student([*pieces, *new]), 32)


def test_a_short_teacher_is_refused(pieces):
    with pytest.raises(InputError, match=r"^--teacher embedded: ends at \d+ tokens, and a phase"):
        load_teacher("embedded", "float32", student(pieces), 4_096)


def test_the_checksum_is_that_of_the_weights_that_are_used():
    one, other = small_teacher(), small_teacher()
    assert one.checksum() == other.checksum()
    pooler = other.backbone.pooled_dense.kernel
    pooler.assign(np.array(pooler) + 1)
    assert one.checksum() == other.checksum()
    table = other.backbone.token_embedding.embeddings
    table.assign(np.array(table) + 1e-6)
    assert one.checksum() != other.checksum()
