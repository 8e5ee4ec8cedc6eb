"""From files to word pieces: documents, sentences, a vocabulary and how one is learned.

`corpus` (documents) -> `blocks` (the text of one shard each) -> `sentences` -> `tokenizer`.
`learn_vocabulary` and `counting` count what is in a text.

May import `io/`, `hardware/`, `tfbert.options`, `tfbert.randomness` and `tfbert.errors`.
"""
