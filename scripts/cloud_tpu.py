#!/usr/bin/env python3
"""One tfbert command on a Cloud TPU, as a managed job of SkyPilot.

  python scripts/cloud_tpu.py --accelerator v5litepod-4 --region us-west4 --spot --hours 6 \\
      -- finetune --task sst2 --data gs://BUCKET/SST-2 --strategy tpu --output gs://BUCKET/runs/sst2

Fills in scripts/cloud_tpu.yaml, shows what will run and what it costs at most, asks, and calls `sky
jobs launch`. docs/cloud_tpu.md says what was checked and what never ran. Needs SkyPilot
(`pip install "skypilot[gcp]==0.14.*"`, or the extra `cloud`) and no TensorFlow.
"""

import argparse
import math
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import yaml

# This checkout is what goes to the TPU, whatever else is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tfbert.errors import InputError
from tfbert.hardware.accelerators import PRICES_NOTE, Accelerator, parse_accelerator

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = ("pretrain", "finetune", "evaluate", "predict")
_PROGRAM = "bin/tfbert "  # what the command stands behind in the task file


class _BlockDumper(yaml.SafeDumper):
    """Writes text of several lines as lines."""


_BlockDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def main(argv: list[str]) -> int:
    """Launches one job and returns the exit status of the process."""
    own, _, command = _split(argv)
    try:
        return launch(build_parser().parse_args(own), command)
    except InputError as error:
        print(f"cloud_tpu: error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print(
            "cloud_tpu: stopped; a job that was launched goes on: see `sky jobs queue`",
            file=sys.stderr,
        )
        return 130


def _split(argv: list[str]) -> tuple[list[str], list[str], list[str]]:
    """What stands before `--`, `--` itself, and the tfbert command behind it."""
    place = argv.index("--") if "--" in argv else len(argv)
    return argv[:place], argv[place : place + 1], argv[place + 1 :]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are `InputError`s, so that they are one line."""

    def error(self, message: str) -> NoReturn:
        """Raises `InputError` with a message of `argparse`."""
        raise InputError(f"{message.removeprefix('argument ')}; see cloud_tpu.py --help")


def build_parser() -> argparse.ArgumentParser:
    """The parser of what stands before `--`."""
    parser = _Parser(
        prog="cloud_tpu.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--accelerator", required=True, help="v2-8, v3-8, v4-8, v5litepod-4, v5p-8, v6e-4, ...")
    add("--region", required=True, help="the region of your bucket, such as us-west4")
    add("--hours", required=True, type=_positive, help="it stops so many hours from now")
    add("--spot", action="store_true", help="cheaper, and may be taken away at any time")
    add("--max-hourly-cost", type=_positive, help="US dollars (the on-demand list price)")
    add("--name", default="tfbert", help="name of the job (tfbert)")
    add("--dry-run", action="store_true", help="show the task file, and launch nothing")
    add("--yes", action="store_true", help="do not ask whether the cost is right")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return value


def launch(options: argparse.Namespace, command: list[str]) -> int:
    """Shows the job, asks, and launches it.

    Args:
        options: What `build_parser` reads.
        command: The tfbert command, a word an entry.

    Returns:
        The exit status of `sky`.

    Raises:
        InputError: If an option or the command is wrong, SkyPilot is missing, or the answer is no.
    """
    check_command(command)
    accelerator = parse_accelerator(options.accelerator, "--accelerator")
    task = fill_in(options, accelerator, command, now=time.time())
    text = yaml.dump(task, Dumper=_BlockDumper, sort_keys=False, width=100)
    print(text)
    _say(cost_in_words(options, accelerator, task["resources"]["max_hourly_cost"]))
    if options.dry_run:
        return 0
    sky = shutil.which("sky")
    if not sky:
        raise InputError('sky is not on PATH: pip install "skypilot[gcp]==0.14.*", and `sky check`')
    _agree(options.yes)
    with tempfile.TemporaryDirectory(prefix="tfbert-") as folder:
        path = Path(folder, "cloud_tpu.yaml")
        path.write_text(text, encoding="utf-8")
        return subprocess.run([sky, "jobs", "launch", "--yes", str(path)], check=False).returncode


def check_command(command: list[str]) -> None:
    """Refuses what is not a command for a TPU, or whose output would vanish with it.

    Raises:
        InputError: If so.
    """
    if not command or command[0] not in COMMANDS:
        raise InputError(f"write the tfbert command behind `--`: one of {', '.join(COMMANDS)}")
    outputs = []
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == "--output":
            outputs.append(following)
        elif word.startswith("--output="):
            outputs.append(word.partition("=")[2])
    if not outputs:
        raise InputError("the command needs --output gs://BUCKET/FOLDER")
    for output in outputs:
        if not re.match("gs://[^/]", output):
            raise InputError(
                f"--output {output}: the TPU's disk vanishes with it: take a folder on gs://"
            )


def fill_in(
    options: argparse.Namespace, accelerator: Accelerator, command: list[str], now: float
) -> dict[str, Any]:
    """The task of SkyPilot: scripts/cloud_tpu.yaml with the values of this job.

    Args:
        options: What `build_parser` reads.
        accelerator: What they name.
        command: The tfbert command.
        now: Seconds since 1970.

    Raises:
        InputError: If the name or the region is none, or the TPU has several hosts.
    """
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?", options.name):
        raise InputError(f"--name {options.name}: small letters, digits and dashes, 30 at most")
    if not re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", options.region):
        raise InputError(f"--region {options.region}: not a region such as us-west4")
    if accelerator.hosts > 1:
        raise InputError(
            f"--accelerator {accelerator.name}: {accelerator.hosts} hosts; only slices of one host "
            "are launched, see docs/cloud_tpu.md"
        )
    task = yaml.safe_load((REPOSITORY / "scripts" / "cloud_tpu.yaml").read_text(encoding="utf-8"))
    task["name"] = options.name
    task["workdir"] = str(REPOSITORY)
    task["resources"] |= {
        "infra": f"gcp/{options.region}",
        "accelerators": f"tpu-{accelerator.name}",
        "accelerator_args": {"runtime_version": accelerator.runtime_version},
        "use_spot": options.spot,
        "max_hourly_cost": options.max_hourly_cost or accelerator.price_per_hour,
    }
    task["envs"]["TFBERT_UNTIL"] = str(round(now + 3600 * options.hours))
    if _backend(command) == "jax":
        task["setup"] += " jax"
    before, program, _ = task["run"].partition(_PROGRAM)
    task["run"] = f"{before}{program}\\\n  {shlex.join(command)}\n"
    return task


def _backend(command: list[str]) -> str:
    """The last `--backend` of a command; TensorFlow without one."""
    backend = "tensorflow"
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word == "--backend":
            backend = following
        elif word.startswith("--backend="):
            backend = word.partition("=")[2]
    return backend


def cost_in_words(
    options: argparse.Namespace, accelerator: Accelerator, most_an_hour: float
) -> str:
    """What the job costs at most, and what that leaves out."""
    return (
        f"{accelerator.name}: {accelerator.chips} chips, about ${accelerator.price_per_hour:.2f} "
        f"an hour ({PRICES_NOTE}); one above ${most_an_hour:.2f} an hour is not taken.\n"
        f"It stops {options.hours:g} hours from now, the wait for a TPU included: at most about "
        f"${options.hours * most_an_hour:.2f}, and a few minutes for deleting.\n"
        "In addition: SkyPilot's controller, a small machine in your project that stops 10 minutes "
        "after its last job; storage and traffic."
    )


def _agree(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nobody is there to agree to the cost: give --yes")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("not agreed; nothing was launched")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
