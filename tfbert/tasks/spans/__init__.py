"""Answers in passages (SQuAD): reading questions, windows of long passages, answers, their scores.

May import what `tasks/` may.
"""
