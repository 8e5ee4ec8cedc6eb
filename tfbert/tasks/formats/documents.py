"""Labelled documents, a file each, in one folder for each label: on disk or in a zip archive."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.text_files import check_encoding, decode_text, read_text
from tfbert.tasks.formats.tables import Examples


def read_document_folders(
    directory: str | Path, labels: Sequence[str], encoding: str = "utf-8"
) -> Examples:
    """Reads `directory/LABEL/*.txt` for each label, in the order of the file names.

    Raises:
        InputError: If a label's folder is missing or holds no .txt file.
    """
    texts: list[str] = []
    found: list[str] = []
    for label in labels:
        paths = sorted((as_path(directory) / label).glob("*.txt"))
        if not paths:
            raise InputError(f"{directory}: no folder {label}/ with .txt files in it")
        for path in paths:
            texts.append(read_text(path, encoding))
            found.append(label)
    return Examples(texts, found)


def read_document_archive(
    path: str | Path, labels: Sequence[str], encoding: str = "utf-8"
) -> Examples:
    """The same from a zip archive, read in place: nothing is unpacked to disk.

    Raises:
        InputError: If the file is not a zip archive, or holds no document of a label.
    """
    texts: list[str] = []
    found: list[str] = []
    encoding = check_encoding(encoding)
    try:
        with as_path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
            for name in sorted(archive.namelist()):
                label = Path(name).parent.name
                if name.endswith(".txt") and label in labels:
                    place = f"{path}, {name}"
                    texts.append(decode_text(archive.read(name), encoding, place))
                    found.append(label)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{path}: damaged or locked zip archive: {error}") from error
    for label in labels:
        if label not in found:
            raise InputError(f"{path}: no document under {label}/")
    return Examples(texts, found)
