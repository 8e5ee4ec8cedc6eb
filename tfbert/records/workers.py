"""Several processes that write shards; they end when the process that started them ends."""

import collections
import multiprocessing
import signal
from collections.abc import Generator, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from typing import Any, TypeAlias

from tfbert.errors import MachineError
from tfbert.records.shards import ShardWriter
from tfbert.text.blocks import Block

_Written: TypeAlias = tuple[Block, dict[str, Any]]


def write_blocks(
    blocks: Iterable[Block], writer_arguments: tuple, workers: int
) -> Generator[_Written, None, None]:
    """Writes blocks of text, in any order.

    Args:
        writer_arguments: Arguments of `ShardWriter`.
        workers: Processes; 1 works in this one.

    Yields:
        (block without its text, result of `ShardWriter.write`), as they are finished.

    Raises:
        MachineError: If a file cannot be written or a process dies.
    """
    if workers == 1:
        writer = ShardWriter(*writer_arguments)
        for block in blocks:
            yield block._replace(parts=[]), _write(writer, block)
        return
    # `spawn`: TensorFlow, threads and locks of this process are not copied into the others.
    context = multiprocessing.get_context("spawn")
    pool = [_Worker(context, writer_arguments) for _ in range(workers)]
    try:
        yield from _distribute(iter(blocks), pool)
    finally:
        for worker in pool:
            worker.connection.close()
        for worker in pool:
            worker.stop()


def _distribute(blocks: Iterator[Block], pool: list["_Worker"]) -> Generator[_Written, None, None]:
    """Reads blocks ahead while the workers write, at most one for each of them."""
    idle = list(pool)
    busy: dict[Any, _Worker] = {}  # by connection
    ahead: collections.deque[Block] = collections.deque()
    more = True
    while True:
        while idle and ahead:
            worker = idle.pop()
            worker.send(ahead.popleft())
            busy[worker.connection] = worker
        if more and len(ahead) < len(pool):
            block = next(blocks, None)
            more = block is not None
            if block is not None:
                ahead.append(block)
            ready = wait(busy, timeout=0)
        elif busy:
            ready = wait(busy)
        else:
            return
        for connection in ready:
            worker = busy.pop(connection)
            yield worker.receive()
            idle.append(worker)


class _Worker:
    def __init__(self, context: SpawnContext, writer_arguments: tuple) -> None:
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, writer_arguments), daemon=True, name="tfbert-shards"
        )
        self._process.start()
        # With no other copy open here, the pipe ends when either side dies.
        theirs.close()

    def send(self, block: Block) -> None:
        self._block = block._replace(parts=[])
        try:
            self.connection.send(block)
        except OSError as error:
            raise self._death() from error

    def receive(self) -> _Written:
        try:
            result = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if isinstance(result, Exception):
            raise result
        return self._block, result

    def _death(self) -> MachineError:
        self._process.join(timeout=5)
        status = self._process.exitcode
        if status is not None and status > 0:
            return MachineError(
                f"a worker process ended with status {status}, for the reason above; in a script "
                "of your own, call `prepare` under `if __name__ == '__main__':`"
            )
        return MachineError(
            f"a worker process ended with status {status}, perhaps out of memory: "
            "start the same command again with fewer --workers, and it goes on from here"
        )

    def stop(self) -> None:
        self._process.join(timeout=0.2)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(connection: Connection, writer_arguments: tuple) -> None:
    """What a worker does: blocks in, results out, until the pipe ends."""
    # Ctrl-C reaches every process of the terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writer = ShardWriter(*writer_arguments)
    while True:
        try:
            block = connection.recv()
        except (EOFError, OSError):
            return
        try:
            result: dict[str, Any] | MachineError = _write(writer, block)
        except MachineError as error:
            result = error
        try:
            connection.send(result)
        except OSError:
            return


def _write(writer: ShardWriter, block: Block) -> dict[str, Any]:
    try:
        return writer.write(block)
    except (OSError, MemoryError) as error:
        raise MachineError(
            f"shard {block.split} {block.number} cannot be written: {error}; "
            "solve that and start the same command again, and it goes on from here"
        ) from error
