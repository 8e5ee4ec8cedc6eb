"""Batches that are read ahead, while the devices compute."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

# Batches that wait: one for the next call, and one that is being made.
_AHEAD = 2


class ReadAhead:
    """An iterator over what another gives, which a thread reads in advance.

    The thread ends with the data, or when this object is dropped.
    """

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._batches: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._is_dropped = threading.Event()
        self._end: BaseException | None = None
        threading.Thread(
            target=_read,
            args=(iterator, self._batches, self._room, self._is_dropped),
            name="tfbert batches",
            daemon=True,
        ).start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._end is not None:
            raise self._end
        batch, self._end = self._batches.get()
        if self._end is not None:
            raise self._end
        self._room.release()
        return batch

    def __del__(self) -> None:
        self._is_dropped.set()
        self._room.release()


def _read(
    iterator: Iterator[Any],
    batches: queue.Queue,
    room: threading.Semaphore,
    is_dropped: threading.Event,
) -> None:
    try:
        while True:
            room.acquire()
            if is_dropped.is_set():
                return
            batches.put((next(iterator), None))
    except BaseException as error:  # StopIteration as well: raised where it is read
        batches.put((None, error))
