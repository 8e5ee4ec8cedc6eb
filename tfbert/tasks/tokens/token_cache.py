"""Token ids kept for the next run on the same data, so that each text is tokenized once.

An entry's name is a hash of all that its content depends on: the texts, the vocabulary, the
tokenizer's options, the longest sequence, the version of the library that tokenizes. So an entry
is never out of date, and other data never finds it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfbert.io.paths import as_path
from tfbert.io.whole import write_bytes
from tfbert.tasks.tokens.tokenization import TokenizedTexts, tokenize
from tfbert.text.tokenizer import BertTokenizer

log = logging.getLogger("tfbert")

# To be increased when `tokenize` returns other ids for the same texts.
_VERSION = 3
_KEPT_IN_MEMORY = 4  # data sets: those of training and evaluation, of two tasks
_SETTINGS = ("lowercase", "strip_accents", "tokenize_chinese_chars")
_memory: OrderedDict[str, TokenizedTexts] = OrderedDict()


def tokenize_once(
    tokenizer: BertTokenizer,
    texts: Sequence[str],
    max_length: int,
    cache: str,
    pairs: Sequence[str] | None = None,
) -> TokenizedTexts:
    """`tokenize`, unless the same texts were tokenized before.

    Args:
        tokenizer, texts, max_length, pairs: As in `tokenize`.
        cache: `memory`, which keeps the last few data sets of this process; `none`; or a folder,
            local or on gs://, where each data set becomes a file. An entry that is damaged, or
            cannot be written, means a warning and costs time only.
    """
    if cache == "none":
        return tokenize(tokenizer, texts, max_length, pairs)
    key = _key(tokenizer, texts, max_length, pairs)
    if cache == "memory":
        tokens = _memory.pop(key, None) or tokenize(tokenizer, texts, max_length, pairs)
        _memory[key] = tokens
        while len(_memory) > _KEPT_IN_MEMORY:
            _memory.popitem(last=False)
        return tokens
    path = as_path(cache) / f"tokens-{key}"
    kept = _read(path)
    if kept is not None:
        return kept
    tokens = tokenize(tokenizer, texts, max_length, pairs)
    _write(path, tokens)
    return tokens


def _key(
    tokenizer: BertTokenizer, texts: Sequence[str], max_length: int, pairs: Sequence[str] | None
) -> str:
    settings = [_VERSION, max_length, *(getattr(tokenizer, name) for name in _SETTINGS)]
    settings.append(importlib.metadata.version("tokenizers"))
    digest = hashlib.sha256(json.dumps(settings).encode())
    for strings in (tokenizer.vocabulary.pieces, texts, *([] if pairs is None else [pairs])):
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        # Their lengths first, so that no two lists have the same bytes.
        digest.update(np.array([len(encoded), *map(len, encoded)], np.int64).tobytes())
        digest.update(b"".join(encoded))
    return digest.hexdigest()[:32]


def _write(path: Path, tokens: TokenizedTexts) -> None:
    """Writes an entry: a SHA-256 of the rest, then the arrays as NumPy's .npz."""
    file = io.BytesIO()
    counts = np.array([tokens.pad_token_id, tokens.truncated_texts, tokens.dropped_tokens])
    np.savez(
        file,
        values=tokens.values,
        starts=tokens.starts,
        second_starts=tokens.second_starts,
        counts=counts,
    )
    content = file.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).digest() + content)
    except OSError as error:
        log.warning("%s: the tokens cannot be kept: %s", path, error)


def _read(path: Path) -> TokenizedTexts | None:
    """The entry; None where there is none, or it is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: cannot be read, so tokenizing again: %s", path, error)
        return None
    size = hashlib.sha256().digest_size
    if hashlib.sha256(content[size:]).digest() != content[:size]:
        log.warning("%s: damaged, so tokenizing again", path)
        return None
    with np.load(io.BytesIO(content[size:]), allow_pickle=False) as arrays:
        pad_token_id, truncated, dropped = arrays["counts"].tolist()
        names = ("values", "starts", "second_starts")
        values, starts, second_starts = (arrays[name] for name in names)
        return TokenizedTexts(values, starts, second_starts, pad_token_id, truncated, dropped)
