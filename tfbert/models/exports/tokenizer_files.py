"""The files from which other programs make a model's tokenizer, with the same ids."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, decoders, processors

from tfbert.io.whole import write_bytes, write_json
from tfbert.text.tokenizer import BertTokenizer, make_hugging_face_tokenizer
from tfbert.text.vocabulary import CONTINUATION, SPECIAL_TOKENS

VOCABULARY_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"


def write_tokenizer(tokenizer: BertTokenizer, folder: Path, max_length: int | None = None) -> None:
    """Writes `vocab.txt` and the `tokenizer.json` of Hugging Face's `tokenizers`.

    Args:
        max_length: For use without transformers: texts of a batch are cut to this many tokens and
            padded to the longest, and a literal "[SEP]" in a text is text. By default all is as
            transformers wants it: it cuts and pads when it is told to, and takes "[SEP]" and
            "[MASK]" in a text for the special tokens.
    """
    write_bytes(folder / VOCABULARY_FILE, tokenizer.vocabulary.to_bytes())
    theirs = _between_special_tokens(tokenizer)
    if max_length is None:
        theirs.add_special_tokens(list(SPECIAL_TOKENS))
    else:
        theirs.enable_truncation(max_length)
        theirs.enable_padding(pad_id=tokenizer.pad_token_id, pad_token="[PAD]")
    theirs.save(str(folder / TOKENIZER_FILE))


def write_transformers_settings(tokenizer: BertTokenizer, folder: Path, max_length: int) -> None:
    """Writes what transformers wants to know in addition.

    Args:
        max_length: Where transformers cuts a text if it is told to cut.
    """
    tokens = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
    write_json(folder / "special_tokens_map.json", tokens)
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": tokenizer.lowercase,
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        "model_max_length": max_length,
        **tokens,
    }
    write_json(folder / "tokenizer_config.json", settings)


def _between_special_tokens(tokenizer: BertTokenizer) -> Tokenizer:
    """Hugging Face's tokenizer that puts a text, or a pair, between [CLS] and [SEP]."""
    theirs = make_hugging_face_tokenizer(
        tokenizer.vocabulary.ids,
        tokenizer.lowercase,
        tokenizer.strip_accents,
        tokenizer.tokenize_chinese_chars,
    )
    theirs.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", tokenizer.cls_token_id), ("[SEP]", tokenizer.sep_token_id)],
    )
    theirs.decoder = decoders.WordPiece(prefix=CONTINUATION)
    return theirs
