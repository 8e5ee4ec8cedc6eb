"""What can be known to be wrong before a TPU costs anything."""

from tfbert.errors import InputError

_SCHEME = "gs://"
# Locations of buckets that span several regions, and the regions' names.
_WIDE_LOCATIONS = {"us": "us-", "eu": "europe-", "asia": "asia-", "nam4": "us-", "eur4": "europe-"}


def find_project(gcloud):
    """The project that gcloud is set to.

    Raises:
        InputError: If it is set to none.
    """
    project = gcloud.call(["config", "get-value", "project"], assumed="PROJECT").output
    if project in ("", "(unset)"):
        raise InputError(
            "no Google Cloud project is chosen: give --project, or `gcloud config set project NAME`"
        )
    return project


def check_zone(gcloud, accelerator_type):
    """Refuses a zone that does not have this kind of TPU.

    Raises:
        InputError: If it has not, or is no zone.
    """
    arguments = gcloud.tpus("accelerator-types", "list", "--format=value(type)")
    offered = gcloud.check(arguments, assumed=accelerator_type).split()
    if accelerator_type not in offered:
        kind = accelerator_type.partition("-")[0]
        same_kind = [name for name in offered if name.startswith(f"{kind}-")]
        raise InputError(
            f"{gcloud.zone} has no {accelerator_type}; of {kind} it has "
            f"{', '.join(same_kind) or 'none'}: see `gcloud compute tpus locations list`"
        )


def output_of(command):
    """The `--output` of a tfbert command, or None."""
    for word, following in zip(command, [*command[1:], None], strict=True):
        if word == "--output":
            return following
        if word.startswith("--output="):
            return word.partition("=")[2]
    return None


def check_command(command):
    """Refuses a command whose output would vanish with the TPU.

    Raises:
        InputError: If there is no command, or its output is not on gs://.
    """
    if not command:
        raise InputError("no tfbert command: write it after --, as in `-- finetune --task ...`")
    output = output_of(command)
    if output is not None and not output.startswith(_SCHEME):
        raise InputError(
            f"--output {output}: the TPU's disk vanishes with it: take a folder on {_SCHEME}"
        )


def check_buckets(gcloud, command):
    """Refuses buckets far from the TPU: slow, and each gigabyte costs.

    Raises:
        InputError: If a bucket is missing, closed, or in another region.
    """
    words = [part for word in command for part in word.split("=")]
    buckets = {word.removeprefix(_SCHEME).split("/")[0] for word in words if _SCHEME in word[:5]}
    region = gcloud.zone.rpartition("-")[0]
    for bucket in sorted(buckets):
        arguments = [
            "storage",
            "buckets",
            "describe",
            f"{_SCHEME}{bucket}",
            f"--project={gcloud.project}",
            "--format=value(location)",
        ]
        result = gcloud.call(arguments, assumed=region)
        if result.absent:
            raise InputError(f"{_SCHEME}{bucket}: there is no such bucket")
        if result.status:
            raise gcloud.explain(arguments, result)
        location = result.output.lower()
        if location != region and not region.startswith(_WIDE_LOCATIONS.get(location, "nowhere")):
            raise InputError(
                f"{_SCHEME}{bucket} is in {location} and the TPU in {region}: take a bucket in "
                f"{region}, or --any-region (slower, and traffic between regions costs)"
            )
