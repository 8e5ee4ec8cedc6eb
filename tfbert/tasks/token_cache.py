"""Texts that were tokenized once, kept for the next run on the same data.

An entry's name is a hash of all that its content depends on: the texts, the vocabulary, the
tokenizer's options, the longest sequence, the versions of the libraries that tokenize. So an entry
never grows old, and other data never finds it.
"""

import hashlib
import importlib.metadata
import io
import json
import logging
from collections import OrderedDict

import numpy as np

from tfbert.io.paths import as_path
from tfbert.io.whole import write_bytes
from tfbert.tasks.tokenization import TokenizedTexts, tokenize

log = logging.getLogger("tfbert")

# To be raised when `tokenize` gives other ids for the same texts.
_VERSION = 1
_KEPT_IN_MEMORY = 4  # data sets: those of training and evaluation, of two tasks
_SETTINGS = (
    "lowercase",
    "strip_accents",
    "split",
    "special_tokens_in_strings",
    "suffix_indicator",
    "oov_token",
)
_LIBRARIES = ("keras-hub", "tensorflow-text")
_memory = OrderedDict()


def tokenize_once(tokenizer, texts, max_length, cache):
    """`tokenize`, unless the same texts were tokenized before.

    Args:
        tokenizer, texts, max_length: As in `tokenize`.
        cache: `memory`, which keeps the last few data sets of this process; `none`; or a folder,
            local or on gs://, where each data set becomes a file. An entry that is damaged, or
            cannot be written, is a warning and costs time only.

    Returns:
        `TokenizedTexts`.
    """
    if cache == "none":
        return tokenize(tokenizer, texts, max_length)
    key = _key(tokenizer, texts, max_length)
    if cache == "memory":
        tokens = _memory.pop(key, None) or tokenize(tokenizer, texts, max_length)
        _memory[key] = tokens
        while len(_memory) > _KEPT_IN_MEMORY:
            _memory.popitem(last=False)
        return tokens
    path = as_path(cache) / f"tokens-{key}"
    tokens = _read(path)
    if tokens is None:
        tokens = tokenize(tokenizer, texts, max_length)
        _write(path, tokens)
    return tokens


def _key(tokenizer, texts, max_length):
    config = tokenizer.get_config()
    settings = [_VERSION, max_length, *(config[name] for name in _SETTINGS)]
    settings += [importlib.metadata.version(library) for library in _LIBRARIES]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for strings in (tokenizer.get_vocabulary(), texts):
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        # Their lengths first, so that no two lists have the same bytes.
        digest.update(np.array([len(encoded), *map(len, encoded)], np.int64).tobytes())
        digest.update(b"".join(encoded))
    return digest.hexdigest()[:32]


def _write(path, tokens):
    """Writes an entry: a SHA-256 of the rest, then the arrays as NumPy's .npz."""
    content = io.BytesIO()
    counts = np.array([tokens.pad_token_id, tokens.truncated_texts, tokens.dropped_tokens])
    np.savez(content, values=tokens.values, starts=tokens.starts, counts=counts)
    content = content.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(content).digest() + content)
    except OSError as error:
        log.warning("%s: the tokens cannot be kept: %s", path, error)


def _read(path):
    """The entry, or None where there is none that is whole."""
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
        return TokenizedTexts(arrays["values"], arrays["starts"], pad_token_id, truncated, dropped)
