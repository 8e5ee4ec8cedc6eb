"""What the benchmarks share: saved measurements, the machine, turns, intervals, the written page.

Each benchmark says only what it measures. They are scripts, so this package is found beside them.
"""
