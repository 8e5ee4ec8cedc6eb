"""Labelled documents, a file each, in one folder for each label: on disk or in a zip archive."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from tfbert.errors import InputError
from tfbert.io.paths import as_path
from tfbert.io.text_files import check_encoding, decode_text, read_text
from tfbert.tasks.tables import Examples


def read_document_folders(
    directory: str | Path, labels: Sequence[str], encoding: str = "utf-8"
) -> Examples:
    """Reads `directory/LABEL/*.txt` for each label, in the order of the file names.

    Raises:
        InputError: If a label's folder is missing or holds no .txt file.
    """
    examples = Examples([], [])
    for label in labels:
        paths = sorted((as_path(directory) / label).glob("*.txt"))
        if not paths:
            raise InputError(f"{directory}: no folder {label}/ with .txt files in it")
        for path in paths:
            examples.texts.append(read_text(path, encoding))
            examples.labels.append(label)
    return examples


def read_document_archive(
    path: str | Path, labels: Sequence[str], encoding: str = "utf-8"
) -> Examples:
    """The same from a zip archive, read in place: nothing is unpacked to disk.

    Raises:
        InputError: If the file is not a zip archive, or holds no document of a label.
    """
    examples = Examples([], [])
    encoding = check_encoding(encoding)
    try:
        with as_path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
            for name in sorted(archive.namelist()):
                label = Path(name).parent.name
                if name.endswith(".txt") and label in labels:
                    place = f"{path}, {name}"
                    examples.texts.append(decode_text(archive.read(name), encoding, place))
                    examples.labels.append(label)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{path}: damaged or locked zip archive: {error}") from error
    for label in labels:
        if label not in examples.labels:
            raise InputError(f"{path}: no document under {label}/")
    return examples
