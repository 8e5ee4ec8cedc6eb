"""The command line of `scripts/cloud_tpu.py`."""

import argparse
import re
import sys

from tfbert.cloud import checks, job, state, supervise, tpu
from tfbert.cloud.gcloud import Gcloud, say
from tfbert.errors import InputError, TfbertError
from tfbert.hardware.accelerators import PRICES_NOTE, parse_accelerator

_DESCRIPTION = """Runs tfbert on a Cloud TPU: docs/cloud_tpu.md tells how.

  cloud_tpu.py run --name first --accelerator-type v5litepod-4 --zone us-west4-a --spot \\
      -- finetune --task sst2 --data gs://BUCKET/SST-2 --output gs://BUCKET/runs/sst2 ...

`run` does all of create, setup, train, logs and delete, in this order."""
_HELP = {
    "create": "ask for a TPU and wait until it is ready",
    "setup": "copy the package to the TPU and install it",
    "train": "start a tfbert command on it, detached, and follow its output",
    "status": "show what the TPU and the command do, and the cost so far",
    "logs": "follow the output of the command",
    "fetch": "copy the command's --output folder from gs:// to here",
    "delete": "delete the TPU",
    "run": "all of it: the TPU is deleted at the end, after an error, and on Ctrl-C",
}


def build_parser():
    """The parser: one sub-parser a command."""
    parser = argparse.ArgumentParser(
        prog="cloud_tpu.py",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")
    for name, text in _HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--name", default="tfbert", help="name of the TPU (tfbert)")
        command.add_argument(
            "--dry-run", action="store_true", help="print every command of gcloud, and run none"
        )
        if name in ("create", "run"):
            _add_request(command)
        if name == "run":
            command.add_argument(
                "--keep", action="store_true", help="leave the TPU at the end; it goes on costing"
            )
        if name in ("create", "run", "train"):
            command.add_argument(
                "--any-region", action="store_true", help="allow buckets in other regions"
            )
        if name == "train":
            command.add_argument(
                "--detach", action="store_true", help="start it and do not follow its output"
            )
        if name == "fetch":
            command.add_argument("folder", help="local folder to copy to")
    return parser


def _add_request(command):
    command.add_argument(
        "--accelerator-type", help="v2-8, v3-8, v4-8, v5litepod-4, v5p-8, v6e-4, or a pod slice"
    )
    command.add_argument("--zone", help="zone, such as us-west4-a")
    command.add_argument("--project", help="Google Cloud project (the one that gcloud is set to)")
    command.add_argument("--runtime-version", help="image to start (the one for this TPU)")
    command.add_argument(
        "--spot", action="store_true", help="cheaper, and may be taken away at any time"
    )
    command.add_argument(
        "--queued", action="store_true", help="ask by a queued resource and wait in the queue"
    )
    command.add_argument(
        "--max-wait-hours", type=_positive, default=24.0, help="for free capacity (24)"
    )
    command.add_argument("--max-hours", type=_positive, help="`run` ends after so many hours")
    command.add_argument("--max-cost", type=_positive, help="`run` ends at so many US dollars")
    command.add_argument(
        "--price-per-hour", type=_positive, help="US dollars of the whole TPU (the list price)"
    )
    command.add_argument("--yes", action="store_true", help="do not ask whether the cost is right")


def _positive(text):
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return value


def create(options, command):
    """Asks for a TPU and waits until it is ready."""
    gcloud, tpu_state = _new(options, command)
    supervise.create(gcloud, tpu_state, options.max_wait_hours)


def setup(options, command):
    """Copies the package to the TPU and installs it."""
    job.set_up(*_known(options))


def train(options, command):
    """Starts a command on the TPU."""
    gcloud, tpu_state = _known(options)
    tpu_state.command = command or tpu_state.command
    _check_command(gcloud, tpu_state.command, options.any_region)
    tpu.save_unless_dry(gcloud, tpu_state)
    job.start(gcloud, tpu_state)
    return None if options.detach else _follow(gcloud, tpu_state)


def status(options, command):
    """Prints what is known of the TPU."""
    gcloud, tpu_state = _known(options)
    found = tpu.describe(gcloud, tpu_state)
    print(f"TPU      {tpu_state.name}, {tpu_state.accelerator_type}, {tpu_state.zone}: {found}")
    if found == tpu.READY:
        print(f"command  {job.job_status(gcloud, tpu_state) or 'unknown'}")
    print(f"cost     {tpu_state.hours():.2f} hours, about ${tpu_state.cost():.2f} (an estimate)")


def logs(options, command):
    """Follows the output of the command."""
    return _follow(*_known(options))


def _follow(gcloud, tpu_state):
    try:
        return supervise.follow(gcloud, tpu_state)
    except KeyboardInterrupt:
        say(
            f"tfbert runs on, and {tpu_state.name} costs about ${tpu_state.price_per_hour:.2f} an "
            "hour: `logs` shows more, `delete` ends it"
        )
        raise


def fetch(options, command):
    """Copies the command's output folder to a local one."""
    gcloud, tpu_state = _known(options)
    output = checks.output_of(tpu_state.command)
    if not output:
        raise InputError("the command has no --output, so there is nothing to fetch")
    job.fetch(gcloud, output, options.folder)


def delete(options, command):
    """Deletes the TPU."""
    gcloud, tpu_state = _known(options)
    tpu_state.requested = True  # whatever the file says
    supervise.clean_up(gcloud, tpu_state)


def run(options, command):
    """Makes a TPU, runs a command on it, and deletes it; or goes on with an earlier `run`."""
    if options.accelerator_type or not state.state_file(options.name).exists():
        gcloud, tpu_state = _new(options, command)
    else:
        gcloud, tpu_state = _known(options)
        if command and command != tpu_state.command:
            raise InputError(
                f"{tpu_state.name} was made for another command: without one `run` goes on with "
                "that, and `train` starts this one"
            )
        _check_command(gcloud, tpu_state.command, options.any_region)
    return supervise.run(gcloud, tpu_state, options.max_wait_hours, options.keep)


def _known(options):
    """gcloud and the state of a TPU that was asked for earlier."""
    found = state.load(options.name)
    return Gcloud(found.project, found.zone, options.dry_run), found


def _new(options, command):
    """gcloud and the state of a TPU to be asked for, once the user agrees to its cost."""
    for name in ("accelerator_type", "zone"):
        if not getattr(options, name):
            raise InputError(f"--{name.replace('_', '-')} must be given")
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", options.name):
        raise InputError(f"--name {options.name}: small letters, digits and dashes, 40 at most")
    if state.state_file(options.name).exists():
        raise InputError(
            f"--name {options.name}: a TPU of that name was asked for already: `status` and "
            "`delete` it, or choose another name"
        )
    accelerator = parse_accelerator(options.accelerator_type)
    gcloud = Gcloud(options.project, options.zone, options.dry_run)
    gcloud.project = options.project or checks.find_project(gcloud)
    if command or options.action == "run":
        _check_command(gcloud, command, options.any_region)
    checks.check_zone(gcloud, accelerator.name)
    new = state.State(
        name=options.name,
        project=gcloud.project,
        zone=options.zone,
        accelerator_type=accelerator.name,
        runtime_version=options.runtime_version or accelerator.runtime_version,
        spot=options.spot,
        queued=options.queued,
        price_per_hour=options.price_per_hour or accelerator.price_per_hour,
        max_hours=options.max_hours,
        max_cost=options.max_cost,
        command=command,
    )
    _agree(options, accelerator, new)
    return gcloud, new


def _check_command(gcloud, command, any_region):
    checks.check_command(command)
    if not any_region:
        checks.check_buckets(gcloud, command)


def _agree(options, accelerator, new):
    """Shows the cost and asks.

    Raises:
        InputError: If the answer is no, or there is nobody to ask.
    """
    source = "your --price-per-hour" if options.price_per_hour else PRICES_NOTE
    say(
        f"{accelerator.name}: {accelerator.chips} chips on {accelerator.hosts} host(s), "
        f"about ${new.price_per_hour:.2f} an hour. An estimate ({source})"
        + ("; spot should cost less" if new.spot and not options.price_per_hour else "")
    )
    if options.yes or options.dry_run:
        return
    if not sys.stdin.isatty():
        raise InputError("nobody is there to agree to the cost: give --yes")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("not agreed; nothing was asked for")


def main(argv):
    """Runs one command and returns the exit status of the process."""
    own, dashes, command = _split(argv)
    options = build_parser().parse_args(own)
    if dashes and options.action not in ("create", "train", "run"):
        print(f"cloud_tpu: error: {options.action} takes no tfbert command", file=sys.stderr)
        return 2
    try:
        return globals()[options.action](options, command) or 0
    except TfbertError as error:
        print(f"cloud_tpu: error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130


def _split(argv):
    """What stands before `--`, whether there is one, and the tfbert command behind it."""
    if "--" not in argv:
        return argv, False, []
    place = argv.index("--")
    return argv[:place], True, argv[place + 1 :]
