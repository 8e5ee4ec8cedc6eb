"""Runs gcloud, always through a list of arguments, and puts its errors into one line."""

import os
import re
import shlex
import signal
import subprocess
import sys
from typing import NamedTuple

from tfbert.errors import InputError, TfbertError

# Seconds between two looks at a TPU. The variable is for tests, which do not wait.
POLL_SECONDS = float(os.environ.get("TFBERT_CLOUD_POLL_SECONDS", "20"))
_GRACE_SECONDS = 10
_LONGEST_CALL = 3600  # seconds; a connection to a machine that is gone may hang for ever

# gcloud's words, what they mean, and what to do. The first that is found counts.
_MEANINGS = (
    (
        r"required property \[project\]|find attribute \[project\]",
        "no Google Cloud project is chosen: give --project, or `gcloud config set project NAME`",
    ),
    (
        r"active account|gcloud auth login|auth tokens|[Rr]eauthentication",
        "gcloud is not logged in: run `gcloud auth login`",
    ),
    (
        r"TPU API has not been used|SERVICE_DISABLED|API .* not enabled",
        "the Cloud TPU API is not enabled: run `gcloud services enable tpu.googleapis.com`",
    ),
    (
        r"on resource project|[Pp]roject \S+ (was )?not found|CONSUMER_INVALID|USER_PROJECT_DENIED",
        "the project {project} does not exist or is not yours: see `gcloud projects list`",
    ),
    (
        r"[Qq]uota (limit|exceeded)|QUOTA_EXCEEDED|exhausted your quota|quota .* exceeded",
        "the quota of project {project} has no room for this TPU in {zone}: ask for more at "
        "console.cloud.google.com/iam-admin/quotas, or take --spot (a quota of its own) or another "
        "zone",
    ),
    (
        r"(accelerator|AcceleratorType|Accelerator type).{0,80}not (found|available|supported)"
        r"|on 'locations/|[Ll]ocation \S+ is not found|unexpected location",
        "{zone} has no such TPU, or is no zone: `gcloud compute tpus locations list` and "
        "`gcloud compute tpus accelerator-types list --zone=ZONE` show what there is",
    ),
    (
        r"([Rr]untime|[Ss]oftware|TensorFlow) ?[Vv]ersion.{0,80}(not (found|available|supported)|"
        r"invalid)",
        "there is no such --runtime-version in {zone}: "
        "`gcloud compute tpus tpu-vm versions list --zone={zone}` shows what there is",
    ),
    (
        r"PERMISSION_DENIED|does not have permission|HTTPError 403",
        "your account may not do this in project {project}",
    ),
)
_NO_CAPACITY = re.compile(
    r"no more capacity|[Ii]nsufficient (\w+ )?capacity|stockout|not enough resources available"
)
_ABSENT = re.compile(r"NOT_FOUND|was not found|does not exist|HTTPError 404|not found: 404")


class Result(NamedTuple):
    """How a call of gcloud ended: its exit status and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def no_capacity(self):
        """Whether the zone has no free TPU just now."""
        return self.status != 0 and bool(_NO_CAPACITY.search(self.errors))

    @property
    def absent(self):
        """Whether there is nothing of that name."""
        return self.status != 0 and bool(_ABSENT.search(self.errors))


class Gcloud:
    """The command `gcloud` for one project and zone.

    Args:
        project: Name of the project.
        zone: Zone of the TPU.
        dry_run: Print every command and run none.
    """

    def __init__(self, project, zone, dry_run=False):
        self.project = project
        self.zone = zone
        self.dry_run = dry_run

    def tpus(self, *arguments):
        """The arguments of a `gcloud compute tpus` command in this project and zone."""
        return ["compute", "tpus", *arguments, f"--project={self.project}", f"--zone={self.zone}"]

    def start(self, arguments, **options):
        """Starts gcloud in a process group of its own, which Ctrl-C in the terminal does not reach.

        Raises:
            InputError: If gcloud is not installed.
        """
        try:
            return subprocess.Popen(
                ["gcloud", *arguments],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **options,
            )
        except FileNotFoundError as error:
            raise InputError(
                "gcloud is not on PATH: install it, https://cloud.google.com/sdk/docs/install"
            ) from error

    def call(self, arguments, assumed=""):
        """Runs a command to its end and returns its `Result`.

        Args:
            arguments: List of strings, without `gcloud`.
            assumed: What it is taken to write in a dry run.
        """
        if self.dry_run:
            print(shlex.join(["gcloud", *arguments]))
            return Result(0, assumed, "")
        process = self.start(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        try:
            output, errors = process.communicate(timeout=_LONGEST_CALL)
        except subprocess.TimeoutExpired:
            stop(process)
            return Result(1, "", f"no end after {_LONGEST_CALL} seconds")
        except BaseException:
            stop(process)
            raise
        return Result(process.returncode, output.strip("\n"), errors.strip())

    def check(self, arguments, assumed=""):
        """As `call`, for what must go well; returns what it wrote.

        Raises:
            InputError: If it fails for a reason that the user can mend.
            TfbertError: If it fails for another one.
        """
        result = self.call(arguments, assumed)
        if result.status:
            raise self.explain(arguments, result)
        return result.output

    def explain(self, arguments, result):
        """The error that says in one line what a failed command means."""
        for pattern, meaning in _MEANINGS:
            if re.search(pattern, result.errors):
                return InputError(meaning.format(project=self.project, zone=self.zone))
        lines = [line for line in result.errors.splitlines() if line.strip()]
        reason = next((line for line in lines if "ERROR" in line), lines[-1] if lines else "")
        command = " ".join(word for word in arguments[:4] if not word.startswith("-"))
        return TfbertError(f"gcloud {command} failed ({result.status}): {reason}")


def stop(process):
    """Ends a started gcloud and all that it started."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signal_number)
            process.wait(_GRACE_SECONDS)
            return
        except ProcessLookupError:
            process.wait()
            return
        except subprocess.TimeoutExpired:
            continue


def say(text):
    """Tells the user something, on standard error; a terminal that is gone is no reason to end."""
    try:
        print(f"cloud_tpu: {text}", file=sys.stderr, flush=True)
    except OSError:
        return
