"""Models on Hugging Face's hub, `hf://owner/name`: only the files that are read are fetched."""

from __future__ import annotations

from pathlib import Path

from tfbert.errors import InputError, first_line
from tfbert.models.formats.forms import files_to_fetch, form_of

SCHEME = "hf://"


def fetch(address: str) -> Path | None:
    """Downloads a model, or finds it in the hub's cache on this machine.

    Args:
        address: `hf://owner/name`, or `hf://owner/name@revision`.

    Returns:
        A local folder; None for a preset of KerasHub, which fetches its own.

    Raises:
        InputError: If there is no such model, it cannot be fetched, or none of its files is read.
    """
    import huggingface_hub

    # Each of its five retries without a network would print a line.
    huggingface_hub.utils.logging.set_verbosity_error()
    name, _, revision = address.removeprefix(SCHEME).partition("@")
    try:
        files = huggingface_hub.HfApi().list_repo_files(name, revision=revision or None)
    # What the hub's client raises is not documented and differs by version.
    except Exception as error:
        cached = _cached(name, revision or None)
        if cached is None:
            raise _unreachable(address, error) from error
        return None if form_of(_names(cached), address) == "preset" else cached
    wanted = files_to_fetch(files, f"model {address}")
    if wanted is None:
        return None
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision or None, allow_patterns=wanted
        )
    except Exception as error:
        raise _unreachable(address, error) from error
    return Path(folder)


def _cached(name, revision):
    """The folder of the hub's cache with a model that is whole; None if there is none."""
    import huggingface_hub

    try:
        folder = Path(
            huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True)
        )
        form_of(_names(folder), str(folder))
    except Exception:  # nothing there, or only part of it
        return None
    return folder


def _names(folder):
    return {file.name for file in folder.iterdir()}


def _unreachable(address, error):
    reason = first_line(error)[:300] or type(error).__name__
    return InputError(
        f"model {address}: cannot be loaded: {reason}; check the name and the network, or give a "
        "local directory"
    )
