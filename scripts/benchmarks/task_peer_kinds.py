"""The kinds of task of the peer `task_peer.py`: reading, features, head and metrics.

As in `run_glue`, `run_ner` and `run_qa` of transformers' examples.
"""

import itertools
import json
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import transformers
from task_recipes import DOC_STRIDE, MAX_ANSWER, RECIPES

CANDIDATES = 20
IGNORED = -100  # the label that transformers' losses leave out


def make_kind(name, folder, model_path):
    recipe = RECIPES[name]
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_path)
    return {"tagging": Tags, "span": Spans}.get(recipe.kind, Sequences)(recipe, tokenizer, folder)


class Kind:
    """A kind of task: reading, features, head, metrics."""

    inputs = ("input_ids", "token_type_ids", "attention_mask")

    def __init__(self, recipe, tokenizer, folder):
        self.recipe, self.tokenizer, self.folder = recipe, tokenizer, Path(folder)

    def collate(self, features, multiple=8):
        """A batch, padded to its longest, or, as for half precision, to the next multiple of 8."""
        kept = [{name: each[name] for name in self.inputs} for each in features]
        options = {"pad_to_multiple_of": multiple, "return_tensors": "pt"}
        batch = dict(self.tokenizer.pad(kept, **options))
        return batch | self.targets(features, batch["input_ids"].shape[1])

    def logits(self, result):
        return result.logits.float().numpy()


class Sequences(Kind):
    """One output for a text or a pair, as in `run_glue` and `run_classification`."""

    def __init__(self, recipe, tokenizer, folder):
        super().__init__(recipe, tokenizer, folder)
        self.outputs, self.problem = {
            "classification": (2, "single_label_classification"),
            "regression": (1, "regression"),
            "multilabel": (28, "multi_label_classification"),
        }[recipe.kind]

    def make_model(self, path):
        return transformers.AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=self.outputs, problem_type=self.problem
        )

    def read(self, path):
        """(text, second text or None, label) of each example."""
        lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
        rows = [line.split("\t") for line in lines]
        if self.recipe.title == "CoLA":
            return [(text, None, int(label)) for _, label, _, text in rows]
        if self.recipe.title == "MRPC":
            return [(one, two, int(label)) for label, _, _, one, two in rows[1:]]
        if self.recipe.title == "STS-B":
            return [(row[7], row[8], float(row[9])) for row in rows[1:]]
        hot = np.eye(self.outputs, dtype=np.float32)
        return [
            (text, None, hot[[int(number) for number in numbers.split(",")]].sum(0))
            for text, numbers, _ in rows
        ]

    def features(self, examples, training):
        texts, pairs, labels = zip(*examples, strict=True)
        given = (list(texts),) if pairs[0] is None else (list(texts), list(pairs))
        encoded = self.tokenizer(*given, max_length=self.recipe.max_length, truncation=True)
        columns = zip(*(encoded[name] for name in self.inputs), strict=True)
        return [
            dict(zip(self.inputs, row, strict=True)) | {"label": label}
            for row, label in zip(columns, labels, strict=True)
        ]

    def targets(self, features, length):
        labels = np.array([feature["label"] for feature in features])
        dtype = torch.long if self.recipe.kind == "classification" else torch.float32
        return {"labels": torch.tensor(labels, dtype=dtype)}

    def measure(self, examples, outputs):
        from scipy.stats import pearsonr, spearmanr
        from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

        labels = np.array([label for *_, label in examples])
        logits = np.array(outputs(self.features(examples, training=False)))
        if self.recipe.kind == "regression":
            scores = logits[:, 0]
            return {
                "pearson": float(pearsonr(labels, scores)[0]),
                "spearman": float(spearmanr(labels, scores)[0]),
            }
        if self.recipe.kind == "multilabel":
            options = {"zero_division": 0}
            return {
                "macro_f1": f1_score(labels, logits > 0, average="macro", **options),
                "micro_f1": f1_score(labels, logits > 0, average="micro", **options),
            }
        predicted = logits.argmax(-1)
        return {
            "matthews": float(matthews_corrcoef(labels, predicted)),
            "f1": f1_score(labels, predicted),
            "accuracy": accuracy_score(labels, predicted),
        }


class Tags(Kind):
    """A label a word, on its first piece, as in `run_ner`."""

    def __init__(self, recipe, tokenizer, folder):
        super().__init__(recipe, tokenizer, folder)
        train = self.read(self.folder / recipe.train)
        self.labels = sorted({tag for _, tags in train for tag in tags})

    def make_model(self, path):
        return transformers.AutoModelForTokenClassification.from_pretrained(
            path, num_labels=len(self.labels)
        )

    def read(self, path):
        """(words, tags) of each sentence."""
        blocks = re.split(r"\n[ \t]*\n", path.read_text(encoding="utf-8-sig"))
        sentences = [[line.split("\t") for line in block.splitlines()] for block in blocks]
        return [
            ([word for word, _ in kept], [tag for _, tag in kept])
            for rows in sentences
            if (kept := [row for row in rows if len(row) == 2 and row[0]])
        ]

    def features(self, examples, training):
        found = []
        for words, tags in examples:
            encoded = self.tokenizer(
                words,
                is_split_into_words=True,
                max_length=self.recipe.max_length,
                truncation=True,
            )
            of_piece, previous, labels = encoded.word_ids(), None, []
            for word in of_piece:
                first = word is not None and word != previous
                labels.append(self.labels.index(tags[word]) if first else IGNORED)
                previous = word
            found.append({**encoded, "labels": labels})
        return found

    def targets(self, features, length):
        labels = [each["labels"] + [IGNORED] * (length - len(each["labels"])) for each in features]
        return {"labels": torch.tensor(labels)}

    def measure(self, examples, outputs):
        from seqeval.metrics import f1_score

        features = self.features(examples, training=False)
        predicted = []
        for (words, _), feature, logits in zip(examples, features, outputs(features), strict=True):
            labels = np.array(feature["labels"])
            tags = logits[: len(labels)][labels != IGNORED].argmax(-1)
            cut = len(words) - len(tags)  # words beyond the length are no entities
            predicted.append([self.labels[tag] for tag in tags] + ["O"] * cut)
        return {"f1": float(f1_score([tags for _, tags in examples], predicted))}


class Spans(Kind):
    """Begin and end of an answer, as in `run_qa`."""

    def make_model(self, path):
        return transformers.AutoModelForQuestionAnswering.from_pretrained(path)

    def read(self, path):
        """(id, question, passage, answers) of each question."""
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        return [
            (question["id"], question["question"].strip(), paragraph["context"], answers)
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
            for answers in [[(each["text"], each["answer_start"]) for each in question["answers"]]]
        ]

    def features(self, examples, training):
        encoded = self.tokenizer(
            [question for _, question, *_ in examples],
            [context for *_, context, _ in examples],
            truncation="only_second",
            max_length=self.recipe.max_length,
            stride=DOC_STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        found = []
        for row, example in enumerate(encoded["overflow_to_sample_mapping"]):
            feature = {name: encoded[name][row] for name in self.inputs}
            sequences, offsets = encoded.sequence_ids(row), encoded["offset_mapping"][row]
            feature["example"] = example
            feature["offsets"] = [
                offset if sequence == 1 else None
                for sequence, offset in zip(sequences, offsets, strict=True)
            ]
            if training:
                text, begin = examples[example][3][0]
                feature["span"] = token_span(feature["offsets"], begin, begin + len(text))
            found.append(feature)
        return found

    def targets(self, features, length):
        if "span" not in features[0]:
            return {}
        spans = torch.tensor([feature["span"] for feature in features])
        return {"start_positions": spans[:, 0], "end_positions": spans[:, 1]}

    def logits(self, result):
        return torch.stack([result.start_logits, result.end_logits], -1).float().numpy()

    def measure(self, examples, outputs):
        features = self.features(examples, training=False)
        best = {}
        for feature, logits in zip(features, outputs(features), strict=True):
            context = examples[feature["example"]][2]
            for score, text in candidates(feature["offsets"], logits, context):
                if score > best.get(feature["example"], (-np.inf, ""))[0]:
                    best[feature["example"]] = score, text
        scores = [
            max(squad_score(best.get(row, (0, ""))[1], text) for text, _ in answers)
            for row, (*_, answers) in enumerate(examples)
        ]
        exact = [
            max(normalized(best.get(row, (0, ""))[1]) == normalized(text) for text, _ in answers)
            for row, (*_, answers) in enumerate(examples)
        ]
        return {"f1": 100 * float(np.mean(scores)), "exact_match": 100 * float(np.mean(exact))}


def token_span(offsets, begin, end):
    """First and last token of an answer; those of [CLS] where it is not whole in the window."""
    inside = [row for row, offset in enumerate(offsets) if offset is not None]
    if not inside or offsets[inside[0]][0] > begin or offsets[inside[-1]][1] < end:
        return 0, 0
    first = max(row for row in inside if offsets[row][0] <= begin)
    last = min(row for row in inside if offsets[row][1] >= end)
    return first, last


def candidates(offsets, logits, context):
    """(score, text) of the spans of a window among the best begins and ends."""
    starts, ends = (np.argsort(-logits[: len(offsets), side])[:CANDIDATES] for side in (0, 1))
    for first, last in itertools.product(starts, ends):
        if offsets[first] is None or offsets[last] is None:
            continue
        if first <= last < first + MAX_ANSWER:
            yield (
                float(logits[first, 0] + logits[last, 1]),
                context[offsets[first][0] : offsets[last][1]],
            )


def squad_score(answer, right):
    """F1 over words of SQuAD's own script."""
    given, wanted = normalized(answer).split(), normalized(right).split()
    same = sum((Counter(given) & Counter(wanted)).values())
    return 2 * same / (len(given) + len(wanted)) if same else float(given == wanted)


def normalized(text):
    text = "".join(each for each in text.lower() if each not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())
