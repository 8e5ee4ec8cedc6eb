"""Counts of the text: what a model can begin with, or learn, without predicting a word.

`neighbours` and `documents` count, `embeddings` makes what a new model begins with from them.
`document_vectors` says what a text is about, `frequencies` which word pieces are rare.

May import `tfbert.text.vocabulary` and `tfbert.errors`.
"""
