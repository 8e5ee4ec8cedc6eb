"""Learning vectors that are given: those of a larger model, or those of documents.

A teacher, what the student's distance from it is, and the student: distillation of hidden states
and sentence vectors (Sanh et al. 2019; Jiao et al. 2020, equation 8; Reimers & Gurevych 2020).
`document_pretrainer` learns counts of the documents instead. May import what `models/` may.
"""
