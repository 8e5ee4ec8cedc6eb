"""The files and commands that docs/tasks.md shows: small data of every kind of problem."""

import json
import re
import shlex
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text("utf-8")
FILES = dict(re.findall(r"`([a-z]+\.[a-z]+)`:\n\n```\w+\n(.*?)```", PAGE, re.S))
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    for line in block.replace("\\\n", " ").splitlines()
]
RUNS = [command[command.index("--output") + 1] for command in COMMANDS if "--output" in command]
OWN = "runs/stars"  # of the problem that the page adds
TIMES = 8  # that each example of the page is written


def write_files(folder):
    """Writes the page's files with their examples several times, and what `predict` reads."""
    for name, text in FILES.items():
        (folder / name).write_text(_several(name, text))
    (folder / "new.txt").write_text("Anna lives in Peru.\nA lovely film.\n")
    (folder / "nile.txt").write_text("The Nile flows north.\n")


def _several(name, text):
    kind = name.partition(".")[2]
    if kind == "py":
        return text
    if kind == "json":
        content = json.loads(text)
        for article in content["data"]:
            article["paragraphs"] = [
                _renamed(paragraph, time)
                for time in range(TIMES)
                for paragraph in article["paragraphs"]
            ]
        return json.dumps(content)
    if kind == "csv":
        head, rows = text.split("\n", 1)
        return f"{head}\n{rows * TIMES}"
    return (text + "\n" * (kind == "conll")) * TIMES


def _renamed(paragraph, time):
    questions = [{**each, "id": f"{each['id']}-{time}"} for each in paragraph["qas"]]
    return {**paragraph, "qas": questions}


def commands_of(run, model):
    """The words of the commands of a run, without the program, of that model."""
    for program, *words in COMMANDS:
        if run in words:
            words = words if program == "tfbert" else words[1:]
            yield [str(model) if word == "embedded" else word for word in words]
