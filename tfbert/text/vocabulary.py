"""The vocabulary of a BERT model: word pieces, and the ids that are their positions."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tfbert.embedded import MODEL_DIRECTORY
from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.text_files import read_lines

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"  # begins the pieces that go on with a word

# Where models keep theirs: KerasHub presets, those in a run directory, Hugging Face's and Google's.
_IN_FOLDERS = (
    "assets/tokenizer/vocabulary.txt",
    "model/assets/tokenizer/vocabulary.txt",
    "vocab.txt",
)


class Vocabulary:
    """Word pieces and their ids.

    Args:
        pieces: Strings; the position is the id.
        name: Where they came from, for messages.

    Raises:
        InputError: If a piece occurs twice or a special token is missing.
    """

    def __init__(self, pieces: Iterable[str], name: str = "the vocabulary") -> None:
        self.pieces = tuple(pieces)
        self.ids = {piece: number for number, piece in enumerate(self.pieces)}
        for token in SPECIAL_TOKENS:
            if token not in self.ids:
                raise InputError(f"{name}: has no {token}; a BERT vocabulary is needed")
        for number, piece in enumerate(self.pieces):
            if self.ids[piece] != number:  # the last one's id
                raise InputError(f"{name}: {piece!r} occurs in it twice")
        self.pad, self.unknown, self.cls, self.sep, self.mask = (
            self.ids[token] for token in SPECIAL_TOKENS
        )

    def __len__(self) -> int:
        return len(self.pieces)

    def to_bytes(self) -> bytes:
        """The content of a vocabulary file."""
        return "".join(piece + "\n" for piece in self.pieces).encode()

    @property
    def dtype(self) -> np.dtype:
        """The smallest little-endian type that holds every id and that `tf.io.decode_raw` knows."""
        return np.dtype("<u2" if len(self) <= 1 << 16 else "<i4")

    def is_special(self) -> np.ndarray:
        """(pieces,) bool: `[PAD]`, `[CLS]`, `[unused7]` and whatever else is in brackets."""
        return np.array(
            [len(piece) > 2 and piece[0] == "[" and piece[-1] == "]" for piece in self.pieces]
        )

    def is_continuation(self) -> np.ndarray:
        """(pieces,) bool: `##ing`, pieces that go on with a word."""
        return np.array([piece.startswith(CONTINUATION) for piece in self.pieces])


def read_vocabulary(path: str | Path, encoding: str = "utf-8") -> Vocabulary:
    """Reads a file with one word piece a line.

    Raises:
        InputError: If the file cannot be read or is not a BERT vocabulary.
    """
    pieces = [line.rstrip("\r\n") for _, line in read_lines(path, encoding)]
    while pieces and not pieces[-1]:
        pieces.pop()
    return Vocabulary(pieces, str(path))


def find_vocabulary(source: str) -> str:
    """The vocabulary's file that a `--vocab` means.

    Args:
        source: A file, or a model: its folder, a run directory or `embedded`.

    Raises:
        InputError: If there is no vocabulary in the folder.
    """
    path = MODEL_DIRECTORY if source == "embedded" else as_path(source)
    if not path.is_dir():
        return source
    for name in _IN_FOLDERS:
        if (path / name).exists():
            return str(path / name)
    raise InputError(f"--vocab {source}: no model with a vocabulary file is in this folder")
