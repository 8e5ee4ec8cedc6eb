"""Options of `prepare` and `inspect`: frozen dataclasses, validated when made."""

import dataclasses
from typing import Literal

from tfbert.options import Options, require, require_at_least
from tfbert.text.vocab_options import TextOptions

LONGEST_NGRAM = 10
_LONGEST_SEQUENCE = 65_535  # positions are stored in 16 bits


@dataclasses.dataclass(frozen=True)
class PrepareConfig(TextOptions):
    """Turn text into training records for pre-training.

    Args:
        input: Text files, folders, globs, `tfds:NAME` or `-` (standard input); `.gz` is unpacked.
        output: The folder to write; an interrupted run of the same options goes on in it.
        vocab: The vocabulary, one word piece a line.
        documents: Where a document ends: at each `line`, at the end of each `file`, or at a `blank`
            line. In files, blank lines and `<br />` separate paragraphs.
        sentences: `split` finds sentences in the text; `line` takes each line for one.
        sequences: `pairs` makes BERT's next-sentence pairs; `sentences` packs whole sentences, over
            document borders, with a [SEP] between documents; `filled` cuts sentences where a
            sequence is full, so that hardly any padding is left.
        lengths: Sequence lengths to write, each from the whole text: `128 512`.
        short_probability: Share of sequences made for a random shorter length, as in BERT.
        masking: `dynamic` leaves masks to the reader, new ones each epoch; `fixed` writes them
            into the records; `none` writes and asks for none.
        mask_fraction: Share of the tokens to predict.
        max_predictions: Most predictions a sequence, one number a length; by default
            `mask_fraction` of the length, rounded up.
        whole_word: Mask all pieces of a word together.
        ngram: Mask spans of 1 to this many words, shorter ones more often (probability as 1/n).
        dupe_factor: How many times to go over the text, with other pairs and masks each time.
        validation_fraction: Share of the documents held out, chosen by a hash of their text.
        keep_duplicates: Keep documents whose text was seen before.
        lowercase: Lower-case and strip accents, as the uncased models do.
        encoding: Text encoding of the files.
        shard_mb: Megabytes of text that go into one shard.
        workers: Processes; by default one a core. The output does not depend on it.
        seed: Seed of pairs and fixed masks.
        overwrite: Replace what is already in the output folder.
        progress: Show a progress bar.
    """

    input: list[str]
    output: str
    vocab: str
    documents: Literal["line", "file", "blank"] = "line"
    sentences: Literal["split", "line"] = "split"
    sequences: Literal["pairs", "sentences", "filled"] = "pairs"
    lengths: list[int] = dataclasses.field(default_factory=lambda: [128])
    short_probability: float = 0.1
    masking: Literal["dynamic", "fixed", "none"] = "dynamic"
    mask_fraction: float = 0.15
    max_predictions: list[int] = dataclasses.field(default_factory=list)
    whole_word: bool = True
    ngram: int = 1
    dupe_factor: int = 1
    validation_fraction: float = 0.005
    keep_duplicates: bool = False
    lowercase: bool = True
    encoding: str = "utf-8"
    shard_mb: float = 2.0
    workers: int | None = None
    seed: int = 0
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 1, "workers", "ngram", "dupe_factor")
        require_at_least(self, 0, "seed")
        for name in ("short_probability", "mask_fraction", "validation_fraction"):
            value = getattr(self, name)
            require(0 <= value < 1, name, value, "at least 0 and below 1")
        require(self.mask_fraction > 0, "mask_fraction", self.mask_fraction, "above 0")
        require(self.shard_mb > 0, "shard_mb", self.shard_mb, "above 0")
        require(self.ngram <= LONGEST_NGRAM, "ngram", self.ngram, f"at most {LONGEST_NGRAM}")
        valid = all(8 <= length <= _LONGEST_SEQUENCE for length in self.lengths)
        require(
            valid and len(self.lengths) == len(set(self.lengths)) > 0,
            "lengths",
            self.lengths,
            f"one or more different numbers from 8 to {_LONGEST_SEQUENCE}",
        )
        if self.max_predictions:
            require(
                len(self.max_predictions) == len(self.lengths)
                and all(number >= 1 for number in self.max_predictions),
                "max_predictions",
                self.max_predictions,
                "one number above 0 for each of --lengths",
            )


@dataclasses.dataclass(frozen=True)
class InspectConfig(Options):
    """Show what is in a folder of training records.

    Args:
        records: The folder, or a record file.
        examples: How many examples to decode.
        length: Sequence length to take them from; by default the shortest.
        split: `train` or `validation`.
        vocab: Vocabulary of records that came without one.
        color: Colours: `auto` uses them on a terminal.
        seed: Which examples, and which masks where they are drawn anew each epoch.
        json: Print the statistics as one JSON object and nothing else.
    """

    records: str
    examples: int = 3
    length: int | None = None
    split: Literal["train", "validation"] = "train"
    vocab: str | None = None
    color: Literal["auto", "always", "never"] = "auto"
    seed: int = 0
    json: bool = False

    def __post_init__(self):
        super().__post_init__()
        require_at_least(self, 0, "examples", "seed")
        require_at_least(self, 1, "length")
