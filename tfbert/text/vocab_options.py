"""Options of what reads text: frozen dataclasses, validated when made."""

import dataclasses
import os
from typing import Literal

from tfbert.options import Options, require, require_at_least


class TextOptions(Options):
    """Base of what reads text: `input` may be one path alone, and paths may be `pathlib`'s."""

    def __post_init__(self):
        paths = [self.input] if isinstance(self.input, str | os.PathLike) else self.input
        object.__setattr__(self, "input", list(map(os.fspath, paths)))  # the class is frozen
        super().__post_init__()
        require(len(self.input) > 0, "input", self.input, "one path or more")
        require(self.output != "", "output", self.output, "a path")


@dataclasses.dataclass(frozen=True)
class VocabConfig(TextOptions):
    """Learn a WordPiece vocabulary from text.

    Args:
        input: Text files, folders, globs, `tfds:NAME` or `-` (standard input); `.gz` is unpacked.
        output: The file to write, one word piece a line.
        size: Word pieces in all, special tokens and unused slots included.
        documents: Where a document ends, as in `prepare`; `line` suits any text here.
        encoding: Text encoding of the files.
        lowercase: Lower-case and strip accents, as the uncased models do.
        unused: Slots `[unused0]`, `[unused1]`, ... for words to be named later.
        alphabet: Most characters to keep, the commonest ones; words with others are left out.
        min_count: A word piece is made of a pair that occurs this often at least.
        progress: Show a progress bar.
    """

    input: list[str]
    output: str
    size: int = 30_522
    documents: Literal["line", "file", "blank"] = "line"
    encoding: str = "utf-8"
    lowercase: bool = True
    unused: int = 0
    alphabet: int = 1000
    min_count: int = 2
    progress: bool = True

    def __post_init__(self):
        super().__post_init__()
        for name, minimum in (("size", 10), ("unused", 0), ("alphabet", 1), ("min_count", 1)):
            require_at_least(self, minimum, name)
