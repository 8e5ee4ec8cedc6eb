import json

import pytest
from helpers.foreign_models import VARIANTS, copy_variant

from tfbert.errors import InputError
from tfbert.models.formats.tokenizer_files import read_tokenizer

PIECES = json.loads((VARIANTS / "pretraining" / "tokenizer.json").read_text("utf-8"))["model"]
PIECES = list(PIECES["vocab"])


DESCRIPTION = {
    "model": {"type": "WordPiece", "vocab": {piece: n for n, piece in enumerate(PIECES)}},
    "normalizer": {"type": "BertNormalizer"},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}
NO_ID = {"id": "30", "content": "[NEW]"}


@pytest.fixture
def folder(tmp_path):
    """A model folder without a tokenizer."""
    return copy_variant("pretraining", tmp_path / "model", without=["tokenizer*"])


def write(folder, vocabulary=PIECES, encoding="utf-8", **settings):
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding)
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def test_a_vocabulary_alone_is_lower_cased_as_in_the_library(folder, caplog):
    write(folder, encoding="utf-8-sig")  # with a byte-order mark
    with caplog.at_level("INFO", "tfbert"):
        tokenizer = read_tokenizer(folder, "bert")
    assert tokenizer.vocabulary.pieces == tuple(PIECES)
    assert tokenizer.lowercase and tokenizer.strip_accents and tokenizer.tokenize_chinese_chars
    assert caplog.messages == [
        "bert: tokenizer_config.json does not say do_lower_case: texts are lower-cased, although "
        "the vocabulary has capital letters, as in Hugging Face's library"
    ]


def test_settings_are_obeyed(folder, caplog):
    write(folder, do_lower_case=False, strip_accents=True, tokenize_chinese_chars=False)
    tokenizer = read_tokenizer(folder, "bert")
    assert (tokenizer.lowercase, tokenizer.strip_accents) == (False, True)
    assert not tokenizer.tokenize_chinese_chars and not caplog.messages


def test_tokenizer_json_alone(folder):
    content = json.loads((VARIANTS / "pretraining_tanh" / "tokenizer.json").read_text("utf-8"))
    content["added_tokens"].append({"id": 30, "content": "[NEW]", "special": True})
    (folder / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = read_tokenizer(folder, "bert")
    assert tokenizer.vocabulary.pieces == (*PIECES, "[NEW]")
    assert tokenizer.lowercase  # as the library: it reads the file for its vocabulary
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert not read_tokenizer(folder, "bert").lowercase


def test_added_tokens(folder):
    write(folder, do_lower_case=True)
    (folder / "added_tokens.json").write_text('{"[NEW]": 30}')
    assert read_tokenizer(folder, "bert").vocabulary.pieces == (*PIECES, "[NEW]")
    (folder / "added_tokens.json").write_text('{"[NEW]": 40}')
    with pytest.raises(InputError, match="31 word pieces have ids up to 40"):
        read_tokenizer(folder, "bert")
    (folder / "added_tokens.json").write_text('{"[NEW]": null}')
    with pytest.raises(InputError, match=r"the id of '\[NEW\]' is None, no integer"):
        read_tokenizer(folder, "bert")


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("sentencepiece.bpe.model", "", "sentencepiece.bpe.model is a sentencepiece tokenizer"),
        ("README", "", "neither vocab.txt nor tokenizer.json"),
        ("tokenizer_config.json", '{"tokenizer_class": "XLMRobertaTokenizer"}', "a XLMRobertaTok"),
        ("tokenizer_config.json", '{"tokenizer_class": "BertJapaneseTokenizer"}', "Japanese"),
        ("tokenizer_config.json", '{"do_lower_case": "no"}', "do_lower_case is 'no'"),
        ("tokenizer_config.json", "[1]", "not a JSON object"),
        ("tokenizer.json", "{}", "damaged: not the description"),
        ("tokenizer.json", '{"model": {"type": "BPE", "vocab": {}}}', "a BPE tokenizer"),
        (
            "tokenizer.json",
            '{"model": {"type": "WordPiece", "vocab": {}}, "normalizer": {"type": "Sequence"}}',
            "has Sequence where BERT has BertNormalizer",
        ),
        ("tokenizer.json", '{"model": {"vocab": {}}, "normalizer": [1]}', "damaged: not the desc"),
        ("tokenizer.json", '{"model": {"vocab": {}}, "pre_tokenizer": "x"}', "damaged: not the"),
        (
            "tokenizer.json",
            json.dumps(DESCRIPTION | {"added_tokens": [NO_ID]}),
            r"id .* no integer",
        ),
        (
            "tokenizer.json",
            json.dumps(DESCRIPTION | {"normalizer": {"type": "BertNormalizer", "lowercase": "no"}}),
            "lowercase is 'no': it must be true or false",
        ),
        ("vocab.txt", "[PAD]\n[UNK]\n", r"has no \[CLS\]"),
        ("vocab.txt", "\n".join([*PIECES, "good"]), "'good' occurs in it twice"),
    ],
)
def test_other_tokenizers_are_refused(folder, file, content, match):
    (folder / file).write_text(content)
    with pytest.raises(InputError, match=match) as error:
        read_tokenizer(folder, "bert")
    assert "\n" not in str(error.value)
