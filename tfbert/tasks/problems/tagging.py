"""A label for each word: entities (persons, places, ...), parts of speech and the like."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from tfbert.errors import InputError
from tfbert.tasks.examples import Examples
from tfbert.tasks.formats.tables import Layout
from tfbert.tasks.inputs import Input
from tfbert.tasks.labels import check_known, given_weights, ordered
from tfbert.tasks.problem import Outputs, Problem
from tfbert.tasks.problem_options import ProblemOptions
from tfbert.tasks.tags.entities import (
    OUTSIDE,
    entities_of,
    entity_scores,
    is_tagging_of_entities,
    split_tag,
)
from tfbert.tasks.tags.reading import has_no_tags, read_tagged, tagging_inputs
from tfbert.tasks.tags.scores import tag_scores
from tfbert.tasks.tags.words import Place, encode_words, split_into_words
from tfbert.tasks.tokens.encoded import EncodedExamples, TokenTargets
from tfbert.text.tokenizer import BertTokenizer

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Words:
    """What answers need beside the outputs: `EncodedExamples.details` of a tagging.

    Args:
        first_tokens: As in `tags.words.WordRows`.
        counts: Number of words of each example.
        places: Of each example the places of its words in the text; None where it was words.
    """

    first_tokens: np.ndarray
    counts: list[int]
    places: list[list[Place] | None]


@dataclasses.dataclass(frozen=True)
class Tagging(Problem):
    """A softmax over the tags at the first piece of each word (Devlin et al. 2019, section 5.3).

    The other pieces of a word have no target. Texts are lists of words, or for answers also
    strings, which are divided as BERT divides them.
    """

    name: ClassVar[str] = "tagging"
    head: ClassVar[Literal["pooled", "tokens"]] = "tokens"

    @functools.cached_property
    def finds_entities(self) -> bool:
        """Whether the tags are those of entities (`B-person`), and not of each word (`NOUN`)."""
        return is_tagging_of_entities(self.labels)

    # === Data ===

    @classmethod
    def read(cls, path: str | Path, layout: Layout, labelled: bool = True) -> Examples:
        return read_tagged(path, layout, labelled)

    @classmethod
    def is_unlabelled(cls, path: str | Path, layout: Layout) -> bool:
        return has_no_tags(path, layout)

    @classmethod
    def from_data(
        cls,
        train: Examples,
        evaluation: Examples,
        options: ProblemOptions,
        main_metric: str | None = None,
    ) -> Tagging:
        if options.long_texts != "cut":
            raise InputError(
                f"--long-texts {options.long_texts}: long sentences are read in parts in any case"
            )
        tags = set(itertools.chain.from_iterable(train.labels or []))
        if len(tags) < 2:
            raise InputError(
                f"all words of the {len(train.texts)} training examples have the tag "
                f"{min(tags, default='')!r}; there must be two different ones at least"
            )
        # A begin without an inside in the training data, for example, may have one elsewhere.
        kinds = {split_tag(tag)[1] for tag in (*tags, OUTSIDE)}
        others = Counter(itertools.chain.from_iterable(evaluation.labels or []))
        if is_tagging_of_entities(list(tags)):
            tags |= {tag for tag in others if split_tag(tag)[1] in kinds}
        labels = ordered(tags)
        check_known(others.elements(), labels, "tag")
        metric = "f1" if is_tagging_of_entities(labels) else "accuracy"
        return cls(labels, main_metric or metric)

    def class_weights(self, requested: str | list[float], train: Examples) -> np.ndarray | None:
        if requested == "none":
            return None
        if requested != "balanced":
            return given_weights(requested, self.labels)
        counts = Counter(itertools.chain.from_iterable(train.labels or []))
        words, known = counts.total(), len(counts)
        # A tag of the evaluation data alone is not met.
        weights = [words / (known * counts[tag]) if counts[tag] else 1.0 for tag in self.labels]
        return np.array(weights, np.float32)

    def encode(
        self,
        tokenizer: BertTokenizer,
        examples: Examples,
        max_length: int,
        cache: str = "none",  # words repeat, and the tokenizer remembers each
        class_weights: np.ndarray | None = None,
    ) -> EncodedExamples:
        sentences, places = _sentences(tokenizer, examples.texts)
        rows = encode_words(tokenizer, sentences, max_length)
        cut = None
        if rows.divided:
            cut = (
                f"{rows.divided} of {len(sentences)} sentences have more than {max_length} word "
                "pieces and are read in several parts; no word is left out"
            )
        targets = None
        if examples.labels is not None:
            targets = self._targets(examples.labels, rows.first_tokens, class_weights, rows.texts)
        details = Words(rows.first_tokens, [len(words) for words in sentences], places)
        return EncodedExamples(rows.texts, targets, rows.example_of, details, cut)

    def _targets(self, labels, first_tokens, class_weights, texts):
        tags = list(itertools.chain.from_iterable(labels))
        positions = {tag: number for number, tag in enumerate(self.labels)}
        known = np.array([tag in positions for tag in tags], bool)
        if not known.all():
            self._check_kinds(tags)
        ids = np.array([positions.get(tag, 0) for tag in tags], np.int32)
        weights = np.ones(self.outputs, np.float32) if class_weights is None else class_weights
        is_counted = known & (first_tokens >= 0)
        values = np.zeros(len(texts.values), np.int32)
        weight_of = np.zeros(len(texts.values), np.float32)
        values[first_tokens[is_counted]] = ids[is_counted]
        weight_of[first_tokens[is_counted]] = weights[ids[is_counted]]
        return TokenTargets(values, weight_of, texts.starts)

    def _check_kinds(self, tags):
        """Refuses tags of a type that the model does not know; `I-` of a known type may be new."""
        known = {split_tag(tag)[1] for tag in (*self.labels, OUTSIDE)}
        if self.finds_entities:
            tags = [tag for tag in tags if split_tag(tag)[1] not in known]
        check_known(tags, self.labels, "tag")

    # === Training ===

    def make_loss(self) -> keras.losses.Loss:
        import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def make_metrics(self) -> list[keras.metrics.Metric]:
        import keras

        return [keras.metrics.SparseCategoricalAccuracy("accuracy")]

    # === Results ===

    def measure(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples
    ) -> dict[str, Any]:
        right = examples.labels or []
        log_probabilities = self._log_probabilities(outputs, encoded.details)
        given = _by_sentence(self._tags(log_probabilities), encoded.details.counts)
        scores = entity_scores if self.finds_entities else tag_scores
        return {
            **scores(given, right),
            "loss": self._loss(log_probabilities, encoded.details, right),
            "words": len(log_probabilities),
            "main_metric": self.main_metric,
        }

    def _loss(self, log_probabilities, words, right):
        positions = {tag: number for number, tag in enumerate(self.labels)}
        ids = [positions.get(tag, -1) for tag in itertools.chain.from_iterable(right)]
        ids = np.array(ids, np.int64)
        counted = np.flatnonzero((words.first_tokens >= 0) & (ids >= 0))
        losses = -log_probabilities[counted, ids[counted]]
        return float(losses.mean()) if len(losses) else 0.0

    def answers(
        self, outputs: Outputs, encoded: EncodedExamples, examples: Examples, n_best: int = 1
    ) -> list[dict[str, Any]]:
        words = encoded.details
        log_probabilities = self._log_probabilities(outputs, words)
        tags = _by_sentence(self._tags(log_probabilities), words.counts)
        best = _by_sentence(log_probabilities.max(-1, initial=-np.inf).tolist(), words.counts)
        return [
            self._answer(*example)
            for example in zip(examples.texts, words.places, tags, best, strict=True)
        ]

    def _answer(self, text, places, tags, log_probabilities):
        answer: dict[str, Any] = {}
        if places is None or not self.finds_entities:
            if places is not None:
                answer["words"] = [text[place.start : place.end] for place in places]
            answer["tags"] = tags
        if self.finds_entities:
            entities = []
            for kind, first, last in entities_of(tags):
                if places is None:
                    found = {
                        "text": " ".join(text[first : last + 1]),
                        "first_word": first,
                        "last_word": last,
                    }
                else:
                    start, end = places[first].start, places[last].end
                    found = {"text": text[start:end], "start": start, "end": end}
                probability = float(np.exp(sum(log_probabilities[first : last + 1])))
                entities.append({"type": kind, **found, "probability": probability})
            answer["entities"] = entities
        return answer

    def remarks(self, outputs: Outputs, examples: Examples, metrics: dict[str, Any]) -> list[str]:
        entities = sum(row["examples"] for row in metrics["per_class"].values())
        if not self.finds_entities or metrics["recall"] > 0 or not entities:
            return []
        return [
            f"none of the {entities} entities was found; train it with more --epochs, a higher "
            "--learning-rate or --class-weights balanced"
        ]

    def _log_probabilities(self, outputs, words):
        """(words, tags) float64; a word without a piece is surely outside of entities."""
        logits = np.zeros((len(words.first_tokens), self.outputs))
        has_piece = words.first_tokens >= 0
        if len(outputs):
            logits[has_piece] = np.concatenate(outputs)[words.first_tokens[has_piece]]
        if OUTSIDE in self.labels:
            logits[~has_piece, self.labels.index(OUTSIDE)] = 1e3
        return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)

    def _tags(self, log_probabilities):
        return [self.labels[number] for number in log_probabilities.argmax(-1).tolist()]

    # === Use ===

    def read_inputs(self, path: str, layout: Layout) -> Iterator[Input]:
        return tagging_inputs(path, layout)


def _sentences(
    tokenizer: BertTokenizer, texts: Sequence[Any]
) -> tuple[list[list[str]], list[list[Place] | None]]:
    """The words of each text, and their places where it was a string."""
    strings = [text for text in texts if isinstance(text, str)]
    split = split_into_words(tokenizer, strings)
    places = [next(split) if isinstance(text, str) else None for text in texts]
    sentences = [
        list(text) if found is None else [text[place.start : place.end] for place in found]
        for text, found in zip(texts, places, strict=True)
    ]
    return sentences, places


def _by_sentence(values: list, counts: list[int]) -> list[list]:
    """Values of all words in a row, in a list for each sentence."""
    words = iter(values)
    return [list(itertools.islice(words, count)) for count in counts]
