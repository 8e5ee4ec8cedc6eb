"""Options of what reads text: frozen dataclasses, validated when made."""

import dataclasses
import os
from typing import Annotated, Literal

from tfbert.options import Count, Options, Rule, at_least

Paths = Annotated[list[str], Rule("one path or more", bool)]
NewPath = Annotated[str, Rule("a path", bool)]


class TextOptions(Options):
    """Base of what reads text: `input` may be one path alone."""

    input: Paths

    def __post_init__(self) -> None:
        if isinstance(self.input, str | os.PathLike):
            object.__setattr__(self, "input", [self.input])  # the class is frozen
        super().__post_init__()


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

    input: Paths
    output: NewPath
    size: Annotated[int, at_least(10)] = 30_522
    documents: Literal["line", "file", "blank"] = "line"
    encoding: str = "utf-8"
    lowercase: bool = True
    unused: Annotated[int, at_least(0)] = 0
    alphabet: Count = 1000
    min_count: Count = 2
    progress: bool = True
