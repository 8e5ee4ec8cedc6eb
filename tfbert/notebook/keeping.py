"""Keeping a trained model beyond the runtime: a zip, to download or on Google Drive."""

import importlib
import zipfile
from pathlib import Path

from tfbert.errors import InputError
from tfbert.io.whole import replacing, saving

DRIVE = "/content/drive"  # where Colab mounts it


def keep_model(run: str | Path, name: str, to: str = "zip", drive: str | Path = DRIVE) -> str:
    """Packs the model of a run, a KerasHub preset, as a zip that unpacks to a folder.

    Args:
        run: A run directory.
        name: Of the zip and of the folder in it.
        to: `zip`: the file stands beside the run directory, and in Colab the browser downloads it.
            `drive`: Colab asks for access to Google Drive, and the file is put into `MyDrive/`.
        drive: Where Google Drive is mounted.

    Returns:
        One line that says where the zip is and how it is opened.

    Raises:
        InputError: If there is no model in the run, or no Google Drive.
        MachineError: If the disk is full.
    """
    model = Path(run) / "model"
    if not model.is_dir():
        raise InputError(f"{run}: there is no model/ in it to keep")
    folder = Path(run).parent
    colab = _colab("files" if to == "zip" else "drive")
    if to == "drive":
        if colab is None:
            raise InputError(f"{to!r}: only Colab can mount Google Drive; take 'zip'")
        colab.mount(str(drive))
        folder = Path(drive) / "MyDrive"
        if not folder.is_dir():
            raise InputError(f"{folder}: Google Drive is not mounted there")
    path = folder / f"{name}.zip"
    files = sorted(file for file in model.rglob("*") if file.is_file())
    size = sum(file.stat().st_size for file in files)
    with (
        saving(path, size),
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for file in files:
            packed.write(file, Path(name) / file.relative_to(model))
    if to == "zip" and colab is not None:
        colab.download(str(path))
    megabytes = path.stat().st_size / 1e6
    return f"{path} ({megabytes:.0f} MB): unpack it, and tfbert.load_model({name!r}) opens it"


def _colab(module):
    """A module of Colab's, or None elsewhere."""
    try:
        return importlib.import_module(f"google.colab.{module}")
    except ImportError:
        return None
