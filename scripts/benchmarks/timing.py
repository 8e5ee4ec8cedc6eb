"""What the benchmarks share: the seconds a step of `fit`, and forms that take turns."""

import time

import keras


class Clock(keras.callbacks.Callback):
    """Seconds a step between the end of the first execution and that of the last."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append((batch, time.perf_counter()))

    def seconds(self):
        (first, began), *_, (last, ended) = self.ends
        return (ended - began) / (last - first)


def timed_fit(model, data):
    """A function that trains a compiled model for a number of steps; returns the seconds a step."""
    clock = Clock()

    def form(steps):
        model.fit(data, steps_per_epoch=steps, verbose=0, callbacks=[clock])
        return clock.seconds()

    return form


def take_turns(forms, steps, rounds, warmup=2):
    """`{name: [seconds a step of each round]}`; every other round goes backwards.

    Args:
        forms: By name, a function of the number of steps that returns the seconds a step.
        steps: Steps a round.
        rounds: Rounds, after one that does not count.
        warmup: Steps of the round that does not count.
    """
    times = {name: [] for name in forms}
    for form in forms.values():
        form(warmup)
    for number in range(rounds):
        for name in list(forms)[:: -1 if number % 2 else 1]:
            times[name].append(forms[name](steps))
    return times
