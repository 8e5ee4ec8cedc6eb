import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.text.sentences import split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Mr. Smith went to Washington.", "He came back."],
        ["He met Dr. Jones, Mrs. Hall and Prof. X.", "They left."],
        ["The U.S. Army marched."],
        ["She lives in the U.S.", "He does not."],
        ["We left at 5 p.m.", "Then it rained."],
        ["J. R. R. Tolkien wrote it.", "E. M. Forster did not."],
        ["See Fig. 3 and vol. 2 for more.", "Thanks."],
        ["It cost 3.14 dollars, i.e. too much."],
        ['"Really?" he asked.', '"Yes!"', "He was sure."],
        ["What?!", "No…", "Well... maybe."],
        ["It ended (badly.)", "[Or so they say.]", "“Quite.”", "«Oui.»"],
        ["It was I.", "And you."],
        ["no capitals in here.", "none at all!", "right?"],
        ["今天天气很好。", "我们走吧！", "好吗？"],
        ["no stop at the end"],
    ],
)
def test_known_sentences(sentences):
    joint = "" if "。" in sentences[0] else " "
    assert split_sentences(joint.join(sentences)) == sentences


def test_a_blank_line_ends_a_sentence_and_a_line_break_does_not():
    text = "A heading\n\nA line\nthat goes on.\n \t\nThe end"
    assert split_sentences(text) == ["A heading", "A line\nthat goes on.", "The end"]


@pytest.mark.parametrize("text", ["", " \n\n \t ", "\n" * 1000])
def test_no_text_no_sentences(text):
    assert split_sentences(text) == []


@settings(deadline=None)
@given(st.text(alphabet="aB.!?…。\"'() \n\tMr1", max_size=80) | st.text(max_size=80))
def test_nothing_is_lost(text):
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)


def test_reviews_have_sentences_of_natural_length(real_data):
    """A splitter that misses borders, or sees them everywhere, is far from 15 to 30 words."""
    with gzip.open(real_data / "imdb" / "unsup.txt.gz", "rt", encoding="utf-8") as file:
        text = "\n\n".join(next(file).replace("<br />", "\n\n") for _ in range(500))
    sentences = split_sentences(text)
    assert 15 < len(text.split()) / len(sentences) < 30
    assert not any(sentence.endswith((" Mr.", " Dr.", " Mrs.")) for sentence in sentences)
