"""Text sets of tensorflow-datasets by name, with the `datasets` extra."""

from collections.abc import Iterator

from tfbert.errors import InputError, first_line


def read_texts(name: str) -> Iterator[str]:
    """Yields the texts of a set, in its order.

    Args:
        name: `imdb_reviews`, or with a configuration and a split: `wiki40b/en:validation`. The
            split is `train` by default. The text is the feature `text`, else the first text
            feature.

    Raises:
        InputError: If tensorflow-datasets is not installed, or has no such set, split or text.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"tfds:{name} needs tensorflow-datasets: pip install 'tfbert[datasets]'"
        ) from error
    name, _, split = name.partition(":")
    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise InputError(f"tfds:{name}: {first_line(error)}") from error
    texts = [
        key for key, kind in builder.info.features.items() if isinstance(kind, tfds.features.Text)
    ]
    if not texts:
        raise InputError(f"tfds:{name}: has no text; it holds {', '.join(builder.info.features)}")
    key = "text" if "text" in texts else texts[0]
    try:
        builder.download_and_prepare()
        examples = builder.as_dataset(split=split or "train", shuffle_files=False)
    except Exception as error:
        raise InputError(f"tfds:{name}: {first_line(error)}") from error
    for example in examples.as_numpy_iterator():
        yield example[key].decode("utf-8", "replace")
