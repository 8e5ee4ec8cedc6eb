"""Rules of the code: sizes, annotations, and documents that tell the truth about files."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted((ROOT / "tfbert").rglob("*.py"))
FOLDERS = sorted({path.parent for path in MODULES} - {ROOT / "tfbert"})
TOUR = (ROOT / "docs" / "tour.md").read_text("utf-8")


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def test_sizes():
    lines = {name: len((ROOT / name).read_text().splitlines()) for name in names(MODULES)}
    assert {name: count for name, count in lines.items() if count > 400} == {}
    modules = {folder: len(list(folder.glob("*.py"))) - 1 for folder in FOLDERS}
    assert {folder: count for folder, count in modules.items() if count > 12} == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=names(FOLDERS))
def test_a_folder_says_what_it_is_for(folder):
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    assert len(text) > 30


def public_functions(tree):
    """Functions of a module and methods of its public classes, without private ones."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node)
        if isinstance(node, ast.FunctionDef) and (
            not node.name.startswith("_") or node.name in ("__init__", "__call__")
        ):
            yield node


def without_types(function):
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    given += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
    given = [a for a in given if a.annotation is None and a.arg not in ("self", "cls")]
    return bool(given) or function.returns is None


def test_public_functions_are_annotated():
    missing = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in MODULES
        for function in public_functions(ast.parse(path.read_text()))
        if without_types(function)
    ]
    assert missing == []


def test_the_tour_is_short_and_leads_to_files_that_exist():
    steps = re.findall(r"^\d+\. \[`(tfbert/[\w/]+\.py)`\]", TOUR, re.MULTILINE)
    assert 10 < len(steps) <= 25 and len(steps) == len(set(steps))
    assert sum(len((ROOT / step).read_text().splitlines()) for step in steps) <= 3_000


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_files_and_names_that_a_page_mentions_exist(page):
    text = page.read_text("utf-8")
    for name in re.findall(r"\b((?:tfbert|scripts|tests)/[\w/]+\.(?:py|sh|yaml))\b", text):
        assert (ROOT / name).is_file(), name
    for file, name in re.findall(r"`(tfbert/[\w/]+\.py)`\)?, `(\w+(?:\.\w+)?)`", text):
        tree = ast.parse((ROOT / file).read_text())
        for part in name.split("."):
            found = [n for n in tree.body if getattr(n, "name", None) == part]
            assert found, f"{file} has no {name}"
            tree = found[0]


def test_the_picture_of_the_folders_is_true():
    command = [sys.executable, "scripts/draw_folders.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
