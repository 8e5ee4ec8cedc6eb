"""The command line of a benchmark, and the page that it writes."""

import argparse
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from tfbert.io.whole import replacing

REPOSITORY = Path(__file__).resolve().parents[3]
DOCS = REPOSITORY / "docs"


def make_parser(
    doc: str | None, page: str = "", tiny: str = "", rounds: int = 0
) -> argparse.ArgumentParser:
    """The parser of a benchmark with the options that several have.

    Args:
        doc: The docstring of the script.
        page: The page that it writes into docs/; with it there is `--output`.
        tiny: What `--tiny` does, to try the script; with it there is that option.
        rounds: Timings of each form; with it there is `--rounds`.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    if page:
        parser.add_argument("--output", type=Path, default=DOCS / page)
    if tiny:
        parser.add_argument("--tiny", action="store_true", help=f"{tiny}, to try the script")
    if rounds:
        parser.add_argument("--rounds", type=positive, default=rounds, help="timings of each form")
    return parser


def positive(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: it must be at least 1")
    return number


def require(*modules: str) -> None:
    """Ends the script with one line where one of these modules is not installed."""
    missing = [name for name in modules if not importlib.util.find_spec(name)]
    if missing:
        fail(f"not installed: {', '.join(missing)}; the extra `benchmarks` has what is needed")


def fail(reason: Any) -> NoReturn:
    """Ends the script with one line and exit status 2."""
    print(f"{Path(sys.argv[0]).name}: error: {reason}", file=sys.stderr)
    raise SystemExit(2)


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    heads = list(heads)
    lines = ["|" + "|".join(f" {head} " if head else " " for head in heads) + "|"]
    lines.append("|" + "---|" * len(heads))
    return lines + [f"| {' | '.join(map(str, row))} |" for row in rows]


def reached(whether: bool) -> str:
    """In words."""
    return "reached" if whether else "not reached"


def write_page(path: Path, text: str) -> None:
    """Writes a page whole or not at all, and prints it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(text)


def save_figure(figure: Any, path: Path, **options: Any) -> None:
    """Writes a figure of matplotlib as PNG, whole or not at all, and closes it."""
    from matplotlib import pyplot

    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, **options)
    pyplot.close(figure)
