"""The seconds a step of a form of training, and forms that take turns."""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import keras

Form = Callable[[int], float]  # from the number of steps to the seconds a step
Item = TypeVar("Item")


class Clock(keras.callbacks.Callback):
    """Seconds a step between the end of the first execution and that of the last."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.ends: list[tuple[int, float]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.ends.append((batch, time.perf_counter()))

    def seconds(self) -> float:
        (first, began), *_, (last, ended) = self.ends
        return (ended - began) / (last - first)


def timed_fit(model: keras.Model, data: Any) -> Form:
    """A form that trains a compiled model with `fit`."""
    clock = Clock()

    def form(steps: int) -> float:
        model.fit(data, steps_per_epoch=steps, verbose=0, callbacks=[clock])
        return clock.seconds()

    return form


def timed(step: Callable[[], Any]) -> Form:
    """A form that calls a function, which waits for what it computes."""

    def form(steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - began) / steps

    return form


def in_turns(items: list[Item], rounds: int) -> Iterator[tuple[int, Item]]:
    """(round, item) for each; every other round goes backwards."""
    for number in range(rounds):
        for item in items[:: -1 if number % 2 else 1]:
            yield number, item


def take_turns(
    forms: dict[str, Form], steps: int, rounds: int, warmup: int = 2
) -> dict[str, list[float]]:
    """`{name: [seconds a step of each round]}`.

    Args:
        forms: By name.
        steps: Steps a round.
        rounds: Rounds, after one that does not count.
        warmup: Steps of the round that does not count.
    """
    times: dict[str, list[float]] = {name: [] for name in forms}
    for form in forms.values():
        form(warmup)
    for _, name in in_turns(list(forms), rounds):
        times[name].append(forms[name](steps))
    return times
