"""The tokenizer of a model folder: `tokenizer.json` or `vocab.txt`, and `tokenizer_config.json`.

What is left out there is what Hugging Face's library takes. It reads the settings from
`tokenizer_config.json` alone, and not from `tokenizer.json`, whose vocabulary it prefers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfbert.errors import InputError
from tfbert.io.text_files import read_lines
from tfbert.io.whole import read_json
from tfbert.text.tokenizer import BertTokenizer
from tfbert.text.vocabulary import Vocabulary

log = logging.getLogger("tfbert")

# Classes of Hugging Face's with BERT's algorithm, without their `Fast`.
_SAME_ALGORITHM = {
    *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"),
    *("ConvBertTokenizer", "LayoutLMTokenizer", "SqueezeBertTokenizer", "RetriBertTokenizer"),
    *("DPRQuestionEncoderTokenizer", "DPRContextEncoderTokenizer", "DPRReaderTokenizer"),
}
# Classes that take everything from `tokenizer.json`.
_GENERIC = {"PreTrainedTokenizer", "TokenizersBackend"}
_SENTENCE_PIECE = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "spm.model")


def read_tokenizer(folder: Path, where: str) -> BertTokenizer:
    """The tokenizer of a model folder.

    Args:
        where: What the user calls the model, for log lines.

    Raises:
        InputError: If there is none, it is damaged, or has another algorithm than BERT's.
    """
    settings = _settings(folder / "tokenizer_config.json")
    kind = str(settings.get("tokenizer_class") or "BertTokenizer").removesuffix("Fast")
    description = folder / "tokenizer.json"
    normalizer: Mapping[str, Any] = {}
    if kind not in _SAME_ALGORITHM | _GENERIC or (kind in _GENERIC and not description.exists()):
        raise InputError(
            f"{folder / 'tokenizer_config.json'}: the tokenizer is a {kind}, which is not BERT's"
        )
    if description.exists():
        vocabulary, normalizer = _read_description(description)
    elif (folder / "vocab.txt").exists():
        vocabulary = _read_vocabulary(folder)
    else:
        found = [name for name in _SENTENCE_PIECE if (folder / name).exists()]
        reason = (
            f"{found[0]} is a sentencepiece tokenizer, which is not BERT's"
            if found
            else ("neither vocab.txt nor tokenizer.json in it")
        )
        raise InputError(f"model {folder}: {reason}")
    if kind in _GENERIC:
        return BertTokenizer(
            vocabulary,
            normalizer["lowercase"],
            normalizer.get("strip_accents"),
            normalizer.get("handle_chinese_chars", True),
        )
    lowercase = settings.get("do_lower_case")
    if lowercase is None:
        lowercase = True
        _log_lowercase(where, vocabulary, normalizer)
    return BertTokenizer(
        vocabulary,
        lowercase,
        settings.get("strip_accents"),
        settings.get("tokenize_chinese_chars", True),
    )


def read_plain_vocabulary(folder: Path, where: str) -> BertTokenizer:
    """The tokenizer of a folder of Google's: `vocab.txt`, where nothing says whether it is cased.

    Raises:
        InputError: If there is none, or it is not a BERT vocabulary.
    """
    if not (folder / "vocab.txt").exists():
        raise InputError(f"model {folder}: no vocab.txt in it")
    vocabulary = _read_vocabulary(folder)
    cased = _has_capitals(vocabulary)
    log.info(
        "%s: texts are%s lower-cased, as vocab.txt has %s",
        *((where, " not", "capital letters") if cased else (where, "", "no capital letters")),
    )
    return BertTokenizer(vocabulary, lowercase=not cased)


def longest_text(folder: Path, positions: int) -> int:
    """Tokens that the model is to see at most, by the tokenizer's settings and its positions."""
    longest = _settings(folder / "tokenizer_config.json").get("model_max_length")
    # The library writes 10^30 where there is no limit.
    is_limit = isinstance(longest, int | float) and 3 <= longest < positions
    return int(longest or positions) if is_limit else positions


def _settings(path: Path) -> Mapping[str, Any]:
    settings = read_json(path) if path.exists() else {}
    if not isinstance(settings, dict):
        raise InputError(f"{path}: damaged: not a JSON object")
    for key in ("do_lower_case", "strip_accents", "tokenize_chinese_chars"):
        if settings.get(key) not in (None, True, False):
            raise InputError(f"{path}: {key} is {settings[key]!r}: it must be true, false or null")
    return {key: value for key, value in settings.items() if value is not None}


def _read_vocabulary(folder: Path) -> Vocabulary:
    path = folder / "vocab.txt"
    pieces = [line.rstrip("\r\n") for _, line in read_lines(path)]
    while pieces and not pieces[-1]:
        pieces.pop()
    if (folder / "added_tokens.json").exists():
        added = read_json(folder / "added_tokens.json")
        if not isinstance(added, dict):
            raise InputError(f"{folder / 'added_tokens.json'}: damaged: not a JSON object")
        pieces = _with_added(pieces, added, path)
    return Vocabulary(pieces, str(path))


def _read_description(path: Path) -> tuple[Vocabulary, Mapping[str, Any]]:
    """The vocabulary of a `tokenizer.json`, and its normalizer."""
    content = read_json(path)
    try:
        model, normalizer = content["model"], content.get("normalizer") or {}
        splitter = content.get("pre_tokenizer") or {}
        kind = model.get("type", "WordPiece")
        ids = model["vocab"]
        added = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
        parts = ((normalizer, "BertNormalizer"), (splitter, "BertPreTokenizer"))
        found = [part.get("type") for part, _ in parts]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: damaged: not the description of a tokenizer") from error
    if kind != "WordPiece" or model.get("continuing_subword_prefix", "##") != "##":
        raise InputError(f"{path}: a {kind} tokenizer, not BERT's WordPiece with ##")
    for (_, wanted), name in zip(parts, found, strict=True):
        if name != wanted:
            raise InputError(f"{path}: has {name} where BERT has {wanted}")
    for key in ("lowercase", "strip_accents", "handle_chinese_chars"):
        if normalizer.get(key) not in (None, True, False):
            raise InputError(f"{path}: {key} is {normalizer[key]!r}: it must be true or false")
    if not isinstance(ids, dict):
        raise InputError(f"{path}: damaged: its vocabulary is no list of word pieces")
    pieces = _with_added([], {**ids, **added}, path)
    return Vocabulary(pieces, str(path)), {"lowercase": True, **normalizer}


def _with_added(pieces: Sequence[str], added: Mapping[str, int], path: Path) -> list[str]:
    """Word pieces by their ids; those after the last of `pieces`, or that they lack, are new."""
    by_id = dict(enumerate(pieces))
    for piece, number in added.items():
        if type(number) is not int:
            raise InputError(f"{path}: damaged: the id of {piece!r} is {number!r}, no integer")
        if by_id.setdefault(number, piece) != piece:
            raise InputError(f"{path}: two word pieces have the id {number}")
    if sorted(by_id) != list(range(len(by_id))):
        raise InputError(f"{path}: its {len(by_id)} word pieces have ids up to {max(by_id)}")
    return [by_id[number] for number in range(len(by_id))]


def _log_lowercase(where: str, vocabulary: Vocabulary, normalizer: Mapping[str, Any]) -> None:
    doubt = ""
    if normalizer.get("lowercase") is False:
        doubt = ", although tokenizer.json says not to"
    elif _has_capitals(vocabulary):
        doubt = ", although the vocabulary has capital letters"
    log.info(
        "%s: tokenizer_config.json does not say do_lower_case: texts are lower-cased%s, as in "
        "Hugging Face's library",
        *(where, doubt),
    )


def _has_capitals(vocabulary: Vocabulary) -> bool:
    special = vocabulary.is_special()
    return any(
        piece != piece.lower()
        for piece, is_special in zip(vocabulary.pieces, special, strict=True)
        if not is_special
    )
