"""Small made files in the layout of GLUE's published ones, quirks included."""

from pathlib import Path

GOOD = ["The cat sat on the mat.", 'He said "no', "A dog ran home.", "Rain fell all day."]
OTHER = ["A cat sat on a mat.", 'Yes" said he', "The sun is cold.", "It was dry."]

_MNLI = [
    *("index", "promptID", "pairID", "genre"),
    *("sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"),
    *("sentence1", "sentence2"),
]
_STSB = [
    *("index", "genre", "filename", "year", "old_index", "source1", "source2"),
    *("sentence1", "sentence2"),
]
_ENTAILMENT = ("entailment", "not_entailment")
_THREE = ("entailment", "neutral", "contradiction")


def write_glue(folder: Path, *tasks: str, rows: int = 8) -> Path:
    """Writes the folders of some tasks, by the benchmark's names; returns the folder."""
    for task in tasks:
        (folder / task).mkdir(parents=True, exist_ok=True)
        _WRITERS[task](folder / task, rows)
    return folder


def _lines(path, header, rows):
    lines = ["\t".join(map(str, row)) for row in ([header] if header else []) + list(rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pair(number):
    return GOOD[number % 4], OTHER[(number // 2) % 4]


def _cola(folder, rows):
    for name in ("train", "dev"):
        _lines(
            folder / f"{name}.tsv",
            None,
            [("gj04", n % 2, "" if n % 2 else "*", GOOD[n % 4]) for n in range(rows)],
        )
    _lines(folder / "test.tsv", ["index", "sentence"], enumerate(GOOD))


def _sst2(folder, rows):
    for name in ("train", "dev"):
        _lines(
            folder / f"{name}.tsv",
            ["sentence", "label"],
            [(f"{GOOD[n % 4]} ", n % 2) for n in range(rows)],
        )
    _lines(folder / "test.tsv", ["index", "sentence"], enumerate(GOOD))


def _mrpc(folder, rows):
    header = ["\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String"]
    for name, first in (("train", 100), ("test", 500)):
        _lines(
            folder / f"msr_paraphrase_{name}.txt",
            header,
            [(n % 2, first + n, first + n + 50, *_pair(n)) for n in range(rows)],
        )


def _pairs(header, labels, tests=("test",), names=("train", "dev"), between=0):
    """Writes tables whose last columns are two texts and a label."""

    def write(folder, rows):
        for name in names:
            several = between if name.startswith("dev") else min(between, 1)
            extra = [f"label{n + 1}" for n in range(several)]
            _lines(
                folder / f"{name}.tsv",
                [*header, *extra, "gold_label" if between else "label"],
                [
                    (n, *["x"] * (len(header) - 3), *_pair(n), *["neutral"] * several, label)
                    for n, label in ((n, labels[n % len(labels)]) for n in range(rows))
                ],
            )
        for name in tests:
            _lines(
                folder / f"{name}.tsv",
                header,
                [(n, *["x"] * (len(header) - 3), *_pair(n)) for n in range(4)],
            )

    return write


def _stsb(folder, rows):
    for name in ("train", "dev"):
        _lines(
            folder / f"{name}.tsv",
            [*_STSB, "score"],
            [(n, *"abcdef", *_pair(n), f"{n * 5 / (rows - 1):.3f}") for n in range(rows)],
        )
    _lines(folder / "test.tsv", _STSB, [(n, *"abcdef", *_pair(n)) for n in range(4)])


def _qqp(folder, rows):
    header = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
    good = [(n, n + 1, n + 2, *_pair(n), n % 2) for n in range(rows)]
    _lines(
        folder / "train.tsv", header, [good[0], ("133273", "213221", "213222", "Why?"), *good[1:]]
    )
    _lines(folder / "dev.tsv", header, good)
    _lines(
        folder / "test.tsv", ["id", "question1", "question2"], [(n, *_pair(n)) for n in range(4)]
    )


_WRITERS = {
    "CoLA": _cola,
    "SST-2": _sst2,
    "MRPC": _mrpc,
    "STS-B": _stsb,
    "QQP": _qqp,
    "MNLI": _pairs(
        _MNLI,
        _THREE,
        ("test_matched", "test_mismatched"),
        ("train", "dev_matched", "dev_mismatched"),
        between=5,
    ),
    "QNLI": _pairs(["index", "question", "sentence"], _ENTAILMENT),
    "RTE": _pairs(["index", "sentence1", "sentence2"], _ENTAILMENT),
    "WNLI": _pairs(["index", "sentence1", "sentence2"], ("0", "1")),
    "AX": _pairs(["index", "sentence1", "sentence2"], (), ("diagnostic",), ()),
}
