"""Saved measurements, from which a benchmark that was stopped goes on."""

import functools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.page import REPOSITORY
from tfbert.errors import InputError
from tfbert.io.whole import read_json, write_json


class Cells:
    """Measured numbers, a JSON file each, with the commit that they were measured at.

    Args:
        folder: Where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, name: str) -> bool:
        """Whether this was measured already."""
        return (self.folder / f"{name}.json").exists()

    def measure(self, name: str, function: Callable[..., dict], *arguments: Any) -> dict:
        """The result of `function(*arguments)`, a dict; from its file where there is one."""
        path = self.folder / f"{name}.json"
        if not self.has(name):
            print(name, flush=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {**function(*arguments), "commit": commit()})
        return read_json(path)

    def require_setting(self, here: dict) -> None:
        """Keeps what a measurement rests on, beside the first of its numbers.

        Raises:
            InputError: If the numbers that are there rest on something else.
        """
        known = self.measure("setting", lambda: here)
        if different := [key for key in here if known.get(key) != here[key]]:
            raise InputError(
                f"{self.folder}: its numbers are of another {', another '.join(different)}; give "
                "another folder with --results where there is that option, or delete this one"
            )


@functools.cache
def commit() -> str:
    """The commit of this repository, with a `+` where code differs from it; empty without git."""
    if not shutil.which("git"):
        return ""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "tfbert", "scripts")
    return git("rev-parse", "--short", "HEAD") + "+" * bool(changed)
