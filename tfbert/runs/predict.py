"""`tfbert predict`: a trained model's answers to texts."""

import dataclasses
import functools
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tfbert.errors import InputError
from tfbert.hardware.precision import POLICIES, choose_precision
from tfbert.hardware.strategies import check_backend
from tfbert.io.text_files import read_lines
from tfbert.models.sources import resolve_source
from tfbert.models.trained_model import TrainedModel
from tfbert.options import require
from tfbert.runs import masked_words
from tfbert.runs.command_options import PredictConfig
from tfbert.runs.outputs.run_directory import read_run_config
from tfbert.runs.scoring import open_model, predict_examples
from tfbert.runs.starting import require_backend
from tfbert.tasks.examples import Examples, joined
from tfbert.tasks.formats.tables import Layout, form_of
from tfbert.tasks.inputs import Input, read_inputs
from tfbert.tasks.known_problems import read_problem
from tfbert.tasks.known_tasks import TASKS, layout_of
from tfbert.tasks.problem import Problem
from tfbert.tasks.tokens.tokenization import text_list

log = logging.getLogger("tfbert")

_CHUNK = 4096  # lines read before the first answer: enough to sort into batches by length


def predict(config: PredictConfig) -> Iterator[dict[str, Any]]:
    """Answers the lines of a file or of standard input, or the rows of a table.

    Memory does not grow with their number, except for a JSON array.

    Yields:
        One answer an example, in order: of a line a dict of `text` and what the problem's `answers`
        returns (of classes `label` and `probability`, the label's own); of a model with a masked-LM
        head and no other, the dict of `masked_words.answers`. Of a table: its row, and the answer's
        other keys; where the row has columns of these names, they come as `given_label` and so on.

    Raises:
        InputError: If the input or the model cannot be read.
    """
    check_backend()
    require_backend(config.backend)
    _check_table_options(config)
    # A person who types expects an answer to each line.
    is_typed = config.input == "-" and sys.stdin.isatty()
    if is_typed:
        asked = "one text a line" if config.question is None else "the passage"
        log.info("%s, please; Ctrl-D ends", asked)
    chunk_size = 1 if is_typed else _CHUNK
    if config.input != "-":
        next(read_lines(config.input, config.encoding), None)  # before a model is looked for
    problem = read_problem(Path(resolve_source(config.model)))
    layout = _layout(config)
    if problem is not None:
        inputs = _inputs(problem, config, layout)
        first = list(islice(inputs, chunk_size))  # a wrong file is found before a model is loaded
        answer = _answerer_of(open_model(config.model, config.precision), config)
    else:
        answer, read = _answerer(config, chunk_size)
        inputs = read(layout)
        first = list(islice(inputs, chunk_size))
    inputs = chain(first, inputs)
    # On a terminal the answers themselves show how far it is, and a bar would run into them.
    hides_bar = not config.progress or is_typed or sys.stdout.isatty()
    with tqdm(unit=" texts", file=sys.stderr, disable=hides_bar) as bar:
        while chunk := list(islice(inputs, chunk_size)):
            examples = joined([example for example, _ in chunk])
            for (given, found), (_, row) in zip(answer(examples), chunk, strict=True):
                yield {**(given if row is None else _given(row, found)), **found}
            bar.update(len(chunk))


# From examples to what was given of each, and the answer.
_Answerer = Callable[[Examples], Iterable[tuple[dict[str, Any], dict[str, Any]]]]


def _inputs(
    problem: Problem, config: PredictConfig, layout: Layout, is_known: bool = True
) -> Iterator[Input]:
    """What is to be answered. Of a model of another program only its user knows of pairs."""
    if config.question is not None:
        return problem.read_passage(config.question, config.input, layout)
    if config.text_pair_column is not None and not problem.has_pairs:
        if is_known or problem.head == "tokens":
            raise InputError(
                f"--text-pair-column: model {config.model} was trained on single texts"
            )
        problem = dataclasses.replace(problem, has_pairs=True)
    return problem.read_inputs(config.input, layout)


def _answerer(
    config: PredictConfig, chunk_size: int
) -> tuple[_Answerer, Callable[[Layout], Iterator[Input]]]:
    """What answers examples, and what reads them, of a model whose files do not say its problem."""
    masked = masked_words.load_masked_word_model(
        config.model, POLICIES[choose_precision(config.precision)]
    )
    if masked is None:
        trained = open_model(config.model, config.precision)
        read = functools.partial(_inputs, trained.problem, config, is_known=False)
        return _answerer_of(trained, config), read
    for option in ("question", "text_pair_column"):
        if getattr(config, option) is not None:
            option = option.replace("_", "-")
            raise InputError(f"--{option}: model {config.model} predicts masked words")

    def answer(examples: Examples) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for found in masked_words.answers(masked, examples.texts, batch_size=config.batch_size):
            yield {"text": found.pop("text")}, found

    def read_masked(layout: Layout) -> Iterator[Input]:
        inputs = read_inputs(config.input, layout)
        first = list(islice(inputs, chunk_size))
        masked_words.require_masks(masked, [example.texts[0] for example, _ in first])
        return chain(first, inputs)

    return answer, read_masked


def _answerer_of(trained: TrainedModel, config: PredictConfig) -> _Answerer:
    return functools.partial(
        _answers, trained, batch_size=config.batch_size, n_best=config.n_best, tells_cut=True
    )


def _answers(
    trained: TrainedModel,
    examples: Examples,
    batch_size: int,
    n_best: int,
    tells_cut: bool = False,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    problem = trained.problem
    encoded = problem.encode(trained.tokenizer, examples, trained.max_length)
    if tells_cut and encoded.cut:
        log.info("%s", encoded.cut)
    outputs = predict_examples(trained, encoded, batch_size)
    found = problem.answers(outputs, encoded, examples, n_best)
    for number, answer in enumerate(found):
        yield problem.given(examples.take([number])), answer


def _check_table_options(config: PredictConfig) -> None:
    is_table = config.input != "-" and form_of(config.input)
    if is_table and config.question is None:
        return
    if is_table:
        raise InputError(
            f"--question asks about one passage, and {config.input} is a table: its own questions "
            "are answered without --question"
        )
    for name in ("text_column", "text_pair_column", "separator"):
        value = getattr(config, name)
        words = "left out: only tables (.csv, .tsv, .jsonl, .json) have columns"
        require(value is None, name, value, words)


def _layout(config: PredictConfig) -> Layout:
    """Where things stand in a table: as the options say, else as in the run's own data."""
    run = read_run_config(config.model)
    return layout_of(
        TASKS[run.get("task", "csv")],
        text_column=config.text_column or run.get("text_column"),
        pair_column=config.text_pair_column or run.get("text_pair_column"),
        encoding=config.encoding,
        separator=config.separator,
    )


def _given(row: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """The row, with the columns that an answer has, too, under other names."""
    given = {}
    for name, value in row.items():
        if name in answer:
            while name in row or name in answer:
                name = f"given_{name}"
        given[name] = value
    return given


def predict_texts(
    trained: TrainedModel,
    texts: Iterable[str],
    batch_size: int = 64,
    pairs: Iterable[str] | None = None,
    n_best: int = 1,
) -> list[dict[str, Any]]:
    """Answers texts with a `TrainedModel`; the answers are those of `predict`.

    Args:
        texts: A list, tuple, one-dimensional array, pandas Series or string tensor; a text may be
            empty.
        pairs: The second texts, of a model that judges pairs; the passages, where `texts` are
            questions.
        n_best: As in `PredictConfig`.

    Raises:
        TypeError: If it is none of these, or one of the texts is something else, such as NaN.
        ValueError: If there are not as many pairs as texts, the model judges pairs and there are
            none, or it tags single texts and there are some.
        InputError: If Keras does not run on TensorFlow or JAX.
    """
    check_backend()
    texts = text_list(texts)
    seconds = None if pairs is None else text_list(pairs)
    if seconds is not None and len(seconds) != len(texts):
        raise ValueError(f"{len(texts)} texts, and {len(seconds)} pairs: give one each")
    if trained.problem.has_pairs and seconds is None:
        raise ValueError("the model judges pairs of texts: give `pairs`")
    if seconds is not None and trained.problem.head == "tokens" and not trained.problem.has_pairs:
        raise ValueError(f"{trained.problem.name} is asked of single texts: leave `pairs` out")
    if not texts:
        return []
    examples = trained.problem.from_texts(texts, seconds)
    return [{**given, **found} for given, found in _answers(trained, examples, batch_size, n_best)]
