"""Several processes that write shards, and end when the one that started them ends."""

import collections
import multiprocessing
import signal
from multiprocessing.connection import wait

from tfbert.errors import MachineError
from tfbert.records.shards import ShardWriter


def write_blocks(blocks, writer_arguments, workers):
    """Writes blocks of text, in any order.

    Args:
        blocks: Iterable of `Block`.
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
            yield block._replace(parts=None), _write(writer, block)
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


def _distribute(blocks, pool):
    idle, busy = list(pool), {}
    ahead, more = collections.deque(), True
    while True:
        while idle and ahead:
            worker = idle.pop()
            worker.send(ahead.popleft())
            busy[worker.connection] = worker
        if more and len(ahead) < len(pool):
            block = next(blocks, None)
            more = block is not None
            ahead.extend([block] if more else [])
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
    def __init__(self, context, writer_arguments):
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, writer_arguments), daemon=True, name="tfbert-shards"
        )
        self._process.start()
        # With no other copy open here, the pipe ends when either side dies.
        theirs.close()
        self._block = None

    def send(self, block):
        self._block = block._replace(parts=None)
        try:
            self.connection.send(block)
        except OSError as error:
            raise self._death() from error

    def receive(self):
        try:
            result = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if isinstance(result, Exception):
            raise result
        return self._block, result

    def _death(self):
        self._process.join(timeout=5)
        status = self._process.exitcode
        if status is not None and status > 0:
            return MachineError(
                f"a worker process ended with status {status}, for the reason above; in a script "
                "of your own, call `prepare` under `if __name__ == '__main__':`"
            )
        return MachineError(
            f"a worker process ended with status {status}, for want of memory perhaps: "
            "start the same command again with fewer --workers, and it goes on from here"
        )

    def stop(self):
        self._process.join(timeout=0.2)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(connection, writer_arguments):
    """A worker's life: blocks in, results out, until the pipe ends."""
    # Ctrl-C reaches every process of the terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writer = ShardWriter(*writer_arguments)
    while True:
        try:
            block = connection.recv()
        except (EOFError, OSError):
            return
        try:
            result = _write(writer, block)
        except MachineError as error:
            result = error
        try:
            connection.send(result)
        except OSError:
            return


def _write(writer, block):
    try:
        return writer.write(block)
    except (OSError, MemoryError) as error:
        raise MachineError(
            f"shard {block.split} {block.number} cannot be written: {error}; "
            "start the same command again once that is mended, and it goes on from here"
        ) from error
