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


# Checksums of GLUE's sets and of IMDB: as tensorflow-datasets publishes them. Of movie_reviews:
# that of the file whose MD5 is 155de2b77c6834dd8eea7cbe88e93acb, by which NLTK's file is known.
# MRPC is several files at several places, and is not downloaded.
_GLUE = "https://dl.fbaipublicfiles.com/glue/data/"
PUBLIC_SETS = {
    "cola": PublicSet(
        _GLUE + "CoLA.zip",
        "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff",
        "CoLA",
    ),
    "sst2": PublicSet(
        _GLUE + "SST-2.zip",
        "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
        "SST-2",
    ),
    "stsb": PublicSet(
        _GLUE + "STS-B.zip",
        "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85",
        "STS-B",
    ),
    "qqp": PublicSet(
        _GLUE + "QQP-clean.zip",
        "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0",
        "QQP",
    ),
    "mnli": PublicSet(
        _GLUE + "MNLI.zip",
        "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
        "MNLI",
    ),
    "qnli": PublicSet(
        _GLUE + "QNLIv2.zip",
        "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5",
        "QNLI",
    ),
    "rte": PublicSet(
        _GLUE + "RTE.zip",
        "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee",
        "RTE",
    ),
    "wnli": PublicSet(
        _GLUE + "WNLI.zip",
        "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46",
        "WNLI",
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
        raise InputError(f"the task {task} is for files that you have: give their path")
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
