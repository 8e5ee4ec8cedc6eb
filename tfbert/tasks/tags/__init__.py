"""A label for each word (named entities): reading CoNLL files, schemes of tags, entities, scores.

May import what `tasks/` may.
"""
