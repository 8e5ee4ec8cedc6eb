"""Options of `finetune` that are about the problem: what is asked of a text."""

import dataclasses
from typing import Annotated, Literal

from tfbert.options import Options, at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProblemOptions(Options):
    """What is asked of a text, and how long ones are read.

    Args:
        problem: What is asked: `classification`, one of several labels; `multilabel`, any number
            of them; `regression`, a number; `tagging`, a label for each word; `span`, the answer
            to a question in a passage. By default what the task, or else the data, says.
        text_pair_column: Name of the column with the second text, where pairs are judged.
        label_separator: What separates several labels in a cell of a table (multilabel).
        long_texts: How a text beyond `max_length` is read: `cut` keeps its start, `head-tail` its
            start and its end, `windows` reads it in parts and takes the mean of their logits.
        doc_stride: Tokens from the start of one part to that of the next, where a long text is
            read in parts: `span`, and `windows`.
        max_question_length: Tokens of the longest question (span); longer ones lose their end.
        max_answer_length: Tokens of the longest answer that is given (span).
    """

    problem: str | None = None
    text_pair_column: str | None = None
    label_separator: str | None = None
    long_texts: Literal["cut", "head-tail", "windows"] = "cut"
    doc_stride: Annotated[int, at_least(1)] = 128
    max_question_length: Annotated[int, at_least(1)] = 64
    max_answer_length: Annotated[int, at_least(1)] = 30
