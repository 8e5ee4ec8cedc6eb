"""Downloads the public sets that `finetune` knows by name, each checked by its SHA-256."""

from pathlib import Path
from typing import Any, NamedTuple

from tfbert.errors import InputError
from tfbert.tasks.known_tasks import TASKS
from tfbert.tasks.labelled_data import LabelledData


class PublicSet(NamedTuple):
    """A file to download.

    Args:
        url: Its address.
        sha256: Of the file, in hexadecimal.
        folder: What to unpack of it; None leaves it as it is.
    """

    url: str
    sha256: str
    folder: str | None = None


# Checksums of the first two: as tensorflow-datasets publishes them. Of the last: that of the file
# whose MD5 is 155de2b77c6834dd8eea7cbe88e93acb, by which NLTK's file is known.
PUBLIC_SETS = {
    "sst2": PublicSet(
        "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",
        "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
        "SST-2",
    ),
    "imdb": PublicSet(
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
        "aclImdb",
    ),
    "movie_reviews": PublicSet(
        "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/movie_reviews.zip",
        "a41211ae685019137410268134db6a1a14428c89b671eb83056151a878539008",
    ),
}


def find_data(
    task: str, path: str | Path | None = None, cache: str | Path | None = None
) -> str | None:
    """The path of a task's data, downloaded where there is none.

    Args:
        task: A name in `TASKS`.
        path: Data that is already there.
        cache: Folder of downloads, which must exist; by default Keras' own, `~/.keras`.

    Returns:
        For `FinetuneConfig.data`: a path, or None for a set that ships with the package.

    Raises:
        InputError: If there is no such task, or its data cannot be downloaded.
    """
    if task not in TASKS:
        raise InputError(f"{task!r} is not a task; known are {', '.join(TASKS)}")
    if path or TASKS[task].data:
        return str(path) if path else None
    if task not in PUBLIC_SETS:
        raise InputError(f"the task {task} is for files of your own: give their path")
    import keras

    public = PUBLIC_SETS[task]
    try:
        found = keras.utils.get_file(
            origin=public.url,
            file_hash=public.sha256,
            hash_algorithm="sha256",
            extract=public.folder is not None,
            cache_dir=cache,
        )
    # Which errors a download can raise is not documented; a wrong checksum is a ValueError.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{task} cannot be downloaded: {reason}; fetch {public.url} elsewhere and give its path"
        ) from error
    return str(Path(found) / public.folder) if public.folder else str(found)


def find_text(name: str | Path, folder: str | Path) -> dict[str, Any]:
    """Raw text to pre-train on.

    Args:
        name: `imdb`, the 50,000 reviews without label, downloaded; `embedded`, the sentences that
            ship with the package; or the path of text with a document a line.
        folder: Where to write the embedded text; must exist.

    Returns:
        Options of `VocabConfig` and `PrepareConfig`: `input` and `documents`.
    """
    if name == "imdb":
        reviews = Path(str(find_data("imdb"))) / "train" / "unsup"
        return {"input": [str(reviews)], "documents": "file"}
    if name != "embedded":
        return {"input": [str(name)], "documents": "line"}
    texts = LabelledData("embedded").splits()[0].texts
    path = Path(folder) / "text.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return {"input": [str(path)], "documents": "line"}
