"""The progress bar of commands that read text."""

import sys

from tqdm import tqdm

from tfbert.data.corpus import text_size


def text_bar(sources, description, shown):
    """A bar over the bytes of some sources, on standard error, with MB/s and the time left.

    Args:
        sources: List from `find_sources`.
        description: What is being done, in a word.
        shown: Whether to show it.

    Returns:
        `tqdm.tqdm`.
    """
    return tqdm(
        total=text_size(sources),
        unit="B",
        unit_scale=True,
        desc=description,
        disable=not shown,
        file=sys.stderr,
    )
