"""Options of `prepare` and `inspect`: frozen dataclasses, validated when made."""

import dataclasses
from typing import Annotated, Literal

from tfbert.options import Count, Options, Positive, PositiveShare, Rule, Share, at_least, require
from tfbert.text.vocab_options import NewPath, Paths, TextOptions

LONGEST_NGRAM = 10
_LONGEST_SEQUENCE = 65_535  # positions are stored in 16 bits

_Lengths = Annotated[
    list[int],
    Rule(
        f"one or more different numbers from 8 to {_LONGEST_SEQUENCE}",
        lambda lengths: (
            len(lengths) == len(set(lengths)) > 0
            and all(8 <= length <= _LONGEST_SEQUENCE for length in lengths)
        ),
    ),
]
_NgramLength = Annotated[
    Count, Rule(f"at most {LONGEST_NGRAM}", lambda length: length <= LONGEST_NGRAM)
]


@dataclasses.dataclass(frozen=True)
class PrepareConfig(TextOptions):
    """Turn text into training records for pre-training.

    Args:
        input: Text files, folders, globs, `tfds:NAME` or `-` (standard input); `.gz` is unpacked.
        output: The folder to write; an interrupted run of the same options goes on in it.
        vocab: The vocabulary, one word piece a line; or a model's folder, a run directory or
            `embedded`, for its own.
        documents: Where a document ends: at each `line`, at the end of each `file`, or at a `blank`
            line. In files, blank lines and `<br />` separate paragraphs.
        sentences: `split` finds sentences in the text; `line` takes each line as one.
        sequences: `pairs` makes BERT's next-sentence pairs; `sentences` packs whole sentences, over
            document borders, with a [SEP] between documents; `filled` cuts sentences where a
            sequence is full, so that hardly any padding is left.
        lengths: Sequence lengths to write, each from the whole text: `128 512`.
        short_probability: Share of sequences made for a random shorter length, as in BERT.
        masking: `dynamic` leaves masks to the reader, new ones each epoch; `fixed` writes them
            into the records; with `none` there are no masks.
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

    input: Paths
    output: NewPath
    vocab: str
    documents: Literal["line", "file", "blank"] = "line"
    sentences: Literal["split", "line"] = "split"
    sequences: Literal["pairs", "sentences", "filled"] = "pairs"
    lengths: _Lengths = dataclasses.field(default_factory=lambda: [128])
    short_probability: Share = 0.1
    masking: Literal["dynamic", "fixed", "none"] = "dynamic"
    mask_fraction: PositiveShare = 0.15
    max_predictions: list[int] = dataclasses.field(default_factory=list)
    whole_word: bool = True
    ngram: _NgramLength = 1
    dupe_factor: Count = 1
    validation_fraction: Share = 0.005
    keep_duplicates: bool = False
    lowercase: bool = True
    encoding: str = "utf-8"
    shard_mb: Positive = 2.0
    workers: Count | None = None
    seed: Annotated[int, at_least(0)] = 0
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
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
    examples: Annotated[int, at_least(0)] = 3
    length: Count | None = None
    split: Literal["train", "validation"] = "train"
    vocab: str | None = None
    color: Literal["auto", "always", "never"] = "auto"
    seed: Annotated[int, at_least(0)] = 0
    json: bool = False
