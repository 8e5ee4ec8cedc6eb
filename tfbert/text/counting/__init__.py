"""What token embeddings may begin with: counts of the text, factorized, instead of random numbers.

`neighbours` and `documents` count, `embeddings` makes what a new model begins with from them.

May import `tfbert.text.vocabulary` and `tfbert.errors`.
"""
