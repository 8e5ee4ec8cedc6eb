"""Draws the folders of the package and their imports, docs/folders.svg, from the code itself.

    python scripts/draw_folders.py [--check]      --check: only says whether the picture is true

A row is a layer of the contract in setup.cfg: imports go from a row to rows below it. An arrow is
drawn where a folder imports another one, unless a longer way of arrows leads there, too. The lowest
row may be imported by all, and has no arrows.
"""

import argparse
import ast
import configparser
import html
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "folders.svg"

WIDTH, BOX, ROW, GAP, MARGIN = 1180, 46, 74, 16, 20
STYLE = (
    "text{font-family:Helvetica,Arial,sans-serif;fill:#202124}"
    ".name{font-size:15px;font-weight:bold}.about{font-size:12px}"
    "rect{fill:#f1f3f4;stroke:#5f6368}path{stroke:#1a73e8;stroke-width:1.3;fill:none;opacity:.65}"
)


def layers():
    """The rows of the contract in setup.cfg, the highest first: lists of names."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    rows = config["importlinter:contract:layers"]["layers"].strip().splitlines()
    return [[name.strip() for name in row.split("|")] for row in rows]


def imports(names):
    """{(importer, imported)} among the folders and modules right in the package."""
    graph = grimp.build_graph("tfbert", cache_dir=None)
    found = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            ends = [(*name.split("."), "")[1] for name in (module, imported)]
            if ends[0] != ends[1] and set(ends) <= names:
                found.add(tuple(ends))
    return found


def without_detours(edges):
    """The edges that no longer way stands for (the transitive reduction)."""
    below = {}

    def reached(name):
        if name not in below:
            targets = {end for start, end in edges if start == name}
            below[name] = targets.union(*(reached(target) for target in targets))
        return below[name]

    return {
        (start, end)
        for start, end in edges
        if not any(end in reached(other) for first, other in edges if first == start)
    }


def about(name):
    """The first line of a folder's or module's docstring, and how many modules it has."""
    path = ROOT / "tfbert" / name
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0].rstrip(".")
    modules = len([module for module in path.glob("*.py") if module.name != "__init__.py"])
    return text, modules


def picture():
    """The SVG file's text."""
    rows = [row for row in layers() if row != ["__main__"]]
    places, boxes = {}, []
    for number, row in enumerate(rows):
        row = [name for name in row if not name.startswith("_")]
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        for column, name in enumerate(row):
            x, y = MARGIN + column * (width + GAP), MARGIN + number * ROW
            places[name] = (x, y, width)
            boxes.append(_box(name, x, y, width))
    edges = without_detours(imports(set(places) - set(rows[-1])))
    height = MARGIN * 2 + ROW * (len(rows) - 1) + BOX
    arrows = [_arrow(places, edges, edge) for edge in sorted(edges)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}"><style>{STYLE}</style>'
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><polygon points="0,0 10,5 0,10" fill="#1a73e8"/>'
        f'</marker></defs><rect width="{WIDTH}" height="{height}" style="fill:white;stroke:none"/>'
    )
    return "\n".join([head, *arrows, *boxes, "</svg>", ""])  # boxes hide what passes behind them


def _box(name, x, y, width):
    text, modules = about(name)
    title = f"{name}/ ({modules} modules)" if modules > 1 else name
    longest = int((width - 16) / 6.2)
    text = (
        text if len(text) <= longest else text[: longest - 1].rsplit(" ", 1)[0].rstrip(":,") + "…"
    )
    return (
        f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{BOX}" rx="5"/>'
        f'<text class="name" x="{x + 8:.0f}" y="{y + 18}">{html.escape(title)}</text>'
        f'<text class="about" x="{x + 8:.0f}" y="{y + 36}">{html.escape(text)}</text>'
    )


def _arrow(places, edges, edge):
    """From the lower side of one box to the upper side of another; ends are spread evenly."""
    start, end = edge
    leaving = sorted(other for first, other in edges if first == start)
    arriving = sorted(first for first, other in edges if other == end)
    x0 = _spread(places[start], leaving.index(end), len(leaving))
    x1 = _spread(places[end], arriving.index(start), len(arriving))
    y0, y1 = places[start][1] + BOX, places[end][1]
    bend = (y1 - y0) / 2
    return (
        f'<path d="M{x0:.0f},{y0} C{x0:.0f},{y0 + bend:.0f} {x1:.0f},{y1 - bend:.0f} '
        f'{x1:.0f},{y1}" marker-end="url(#head)"/>'
    )


def _spread(place, number, count):
    x, _, width = place
    return x + width * (number + 1) / (count + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    drawn = picture()
    if not parser.parse_args().check:
        PICTURE.write_text(drawn)
        return 0
    if PICTURE.is_file() and PICTURE.read_text() == drawn:
        return 0
    print(f"{PICTURE}: not what the code is; python scripts/draw_folders.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
