"""What training runs on: devices, precision, memory, several workers, a TPU's environment, input.

May import `io/`, `tfbert.options` and `tfbert.errors`.
"""
