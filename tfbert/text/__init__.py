"""From files to word pieces: documents, sentences, a vocabulary and how one is learned.

May import `io/`, `hardware/`, `tfbert.options`, `tfbert.randomness` and `tfbert.errors`.
"""
