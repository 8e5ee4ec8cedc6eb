"""Examples as tokens: cut to length, kept for the next run, batched by length, given to `fit`.

The data's way: `tokenization` -> `token_cache` -> `long_texts` -> `encoded` -> `batching` ->
`batch_sources`.
"""
