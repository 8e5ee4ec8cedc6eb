"""Rows of questions and passages: what they hold, and that every answer comes back as written."""

import random

import numpy as np
import pytest
from helpers.passages import make_passage

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.spans import encoding
from tfbert.tasks.spans.answers import find_answers
from tfbert.tasks.spans.encoding import encode_spans
from tfbert.tasks.spans.squad import Answer
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import SPECIAL_TOKENS, Vocabulary

CONTEXT = "it was a good movie and a bad movie, it was"


@pytest.fixture(scope="module")
def tokenizer(vocabulary):
    return BertTokenizer(vocabulary)


def spelled(tokenizer, row):
    return " ".join(tokenizer.vocabulary.pieces[number] for number in row)


def encoded_of(tokenizer, questions, contexts, labels=None, *options):
    return encode_spans(tokenizer, Examples(questions, labels, contexts), *options)


def test_rows_and_positions(tokenizer):
    labels = [(Answer("good movie", 9), Answer("it", 0)), (), (Answer("was", 40),)]
    assert CONTEXT[9:19] == "good movie" and CONTEXT[40:] == "was"
    found = encoded_of(tokenizer, ["was it?"] * 3, [CONTEXT] * 3, labels, 14, 5, 64)
    assert [spelled(tokenizer, found.texts[row]) for row in range(2)] == [
        "[CLS] was it ? [SEP] it was a good movie and a bad [SEP]",
        "[CLS] was it ? [SEP] and a bad movie , it was [SEP]",
    ]
    assert found.texts.second_starts.tolist() == [5] * 6
    assert found.example_of.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.targets.values.tolist() == [[8, 9], [0, 0], [0, 0], [0, 0], [0, 0], [11, 11]]
    assert found.targets.weights.tolist() == [1] * 6
    assert found.cut == (
        "3 of 3 questions have passages that are read in parts of up to 14 tokens with the "
        "question: 6 rows in all"
    )


def test_without_labels(tokenizer):
    found = encoded_of(tokenizer, ["was it?"], [CONTEXT], None, 100, 5, 64)
    assert found.targets is None and found.cut is None and len(found.texts) == 1


def test_long_questions_lose_their_end(tokenizer):
    found = encoded_of(tokenizer, ["was it good and bad?", "it"], [CONTEXT] * 2, None, 100, 5, 3)
    assert spelled(tokenizer, found.texts[0]).startswith("[CLS] was it good [SEP] it was")
    assert found.cut == "1 of 2 questions are longer than 3 tokens and lose their end"
    # A question never takes more than half of a row.
    short = encoded_of(tokenizer, ["it " * 50], [CONTEXT], None, 13, 5, 64)
    assert spelled(tokenizer, short.texts[0]).startswith("[CLS] it it it it it [SEP] it was a")


def test_answers_that_are_in_no_row_are_counted(tokenizer):
    found = encoded_of(tokenizer, ["it"], [CONTEXT], [(Answer(CONTEXT, 0),)], 14, 5, 64)
    assert "1 of 1 answers stand in no row as a whole" in found.cut
    assert not found.targets.values.any()


def test_a_row_without_room_is_refused(tokenizer):
    with pytest.raises(InputError, match=r"--max-length 4: .* need 5 tokens"):
        encoded_of(tokenizer, ["it"], [CONTEXT], None, 4, 5, 64)
    rows = encoded_of(tokenizer, ["it was", ""], [CONTEXT, "it"], None, 5, 5, 64)
    assert spelled(tokenizer, rows.texts[1]) == "[CLS] it [SEP] was [SEP]"


def test_a_passage_is_tokenized_once(tokenizer, monkeypatch):
    seen = []
    original = encoding.locate_tokens
    monkeypatch.setattr(
        encoding, "locate_tokens", lambda t, texts: (seen.extend(texts), original(t, texts))[1]
    )
    contexts = [CONTEXT, "it was", CONTEXT, "it was", CONTEXT]
    found = encoded_of(tokenizer, ["it"] * 5, contexts, None, 100, 5, 64)
    assert seen == [CONTEXT, "it was"]
    assert spelled(tokenizer, found.texts[3]) == "[CLS] it [SEP] it was [SEP]"


def test_every_answer_comes_back_as_it_was_written():
    """3,300 answers in passages of any characters: from characters to positions and back."""
    letters = [chr(number) for number in [*range(0x21, 0x250), *range(0x4E00, 0x6300)]]
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *letters, *("##" + letter for letter in letters)])
    rng, noise = random.Random(0), np.random.default_rng(0)
    for variant in ((True, None, True), (False, None, True), (True, False, True)):
        made = [make_passage(rng, rng.randrange(1, 60)) for _ in range(220)]
        passages = [passage for passage in made for _ in range(5)]
        labels = [(Answer(*passage.answer(rng)),) for passage in passages]
        contexts = [passage.text for passage in passages]
        examples = Examples(["Who?"] * len(passages), labels, contexts)
        found = encode_spans(BertTokenizer(vocabulary, *variant), examples, 128, 32, 64)
        logits = [
            noise.normal(size=(length, 2)).astype(np.float32) for length in found.texts.lengths
        ]
        for values, positions in zip(logits, found.targets.values, strict=True):
            values[positions, [0, 1]] += 100
        details = found.details
        for number, (context, (right,)) in enumerate(zip(contexts, labels, strict=True)):
            rows = details.rows_of(number)
            passage = details.passages[details.passage_of[number]]
            answers = find_answers(context, passage, details.windows[rows], logits[rows], 1, 60)
            best = answers.best[0]
            assert (best.text, best.start) == (right.text, right.start)
