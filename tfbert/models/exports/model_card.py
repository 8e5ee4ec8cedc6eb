"""The README of an exported model: what it is, its data, its numbers, and how it was made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from tfbert._version import __version__
from tfbert.options import RUN_RECORD_KEYS, option_name

_TASKS = {  # by architecture: its class of pipeline, and the model in words
    "BertForSequenceClassification": ("text-classification", "A BERT that labels texts"),
    "BertForTokenClassification": ("token-classification", "A BERT that labels the words of texts"),
    "BertForQuestionAnswering": (
        "question-answering",
        "A BERT that finds the answers to questions in passages",
    ),
    "BertForPreTraining": (
        "fill-mask",
        "A BERT with the two heads of its pre-training, masked words and next sentences",
    ),
    "BertForMaskedLM": ("fill-mask", "A BERT with the head of its pre-training, masked words"),
    "BertModel": ("feature-extraction", "A BERT encoder, without a head"),
}


_PROBLEM_TYPES = {  # what a BertForSequenceClassification does, where it is not one label
    "multi_label_classification": "A BERT that gives texts any number of labels",
    "regression": "A BERT that scores texts",
}
# What is called of a pipeline: by its class, the arguments.
_CALLS = {
    "text-classification": '"A text to label.", truncation=True',
    "multi_label_classification": '"A text to label.", truncation=True, top_k=None',
    "regression": '"A text to score.", truncation=True, function_to_apply="none"',
    "token-classification": '"A text with names in it."',
    "question-answering": 'question="A question?", context="A passage with its answer."',
    "fill-mask": '"A [MASK] to fill."',
}


def model_card(
    name: str,
    config: Mapping[str, Any],
    record: Mapping[str, Any],
    metrics: Mapping[str, Any],
    export: str,
) -> str:
    """The card in Markdown, with the head that Hugging Face's hub reads.

    Args:
        name: Title of the model.
        config: The content of its `config.json`.
        record: The content of its run's `config.yaml`; empty where it is not of a run.
        metrics: The content of the run's `metrics.json`; empty where there are none.
        export: The command that wrote the folder.
    """
    pipeline, words = _TASKS[config["architectures"][0]]
    kind = config.get("problem_type", "")
    words = _PROBLEM_TYPES.get(kind, words)
    head = {
        "library_name": "transformers",
        "pipeline_tag": pipeline,
        "tags": ["bert", "tfbert"],
    }
    size = (
        f"{config['num_hidden_layers']} layers, {config['hidden_size']} wide, "
        f"{config['num_attention_heads']} attention heads, {config['vocab_size']:,} word pieces"
    )
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {name}",
        f"{words}: {size}. Written by tfbert {__version__}.",
    ]
    if (labels := config.get("id2label")) and kind != "regression":
        parts.append("Labels: " + ", ".join(f"`{label}`" for label in labels.values()) + ".")
    parts += _data(record) + _metrics(metrics) + _making(record, export)
    call = _CALLS.get(kind) or _CALLS.get(pipeline)
    if call:
        options = ', aggregation_strategy="first"' if pipeline == "token-classification" else ""
        parts += [
            "## Use",
            "```python\nfrom transformers import pipeline\n\n"
            f'model = pipeline("{pipeline}", model="THIS_FOLDER"{options})\n'
            f"model({call})\n```",
        ]
    return "\n\n".join(parts) + "\n"


def _data(record):
    """What it was trained and measured on."""
    names = {
        "task": "task",
        "data": "training data",
        "eval_data": "evaluation data",
        "text_column": "column of the text",
        "label_column": "column of the label",
        "model": "began as",
        "init": "began as",
    }
    lines = [f"- {words}: `{record[key]}`" for key, words in names.items() if record.get(key)]
    return ["## Data", "\n".join(lines)] if lines else []


def _metrics(metrics):
    numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float)}
    if not numbers:
        return []
    rows = [f"| {key} | {_number(value)} |" for key, value in numbers.items()]
    parts = ["## Metrics", "\n".join(["| metric | value |", "|---|---|", *rows])]
    if per_class := metrics.get("per_class"):
        names = list(next(iter(per_class.values())))
        table = [f"| label | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for label, row in per_class.items():
            cells = " | ".join(_number(row[name]) for name in names)
            table.append(f"| {label.replace('|', chr(92) + '|')} | {cells} |")
        parts.append("\n".join(table))
    return parts


def _number(value):
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _making(record, export):
    """The commands that made it."""
    parts = ["## How it was made"]
    command = record.get("command")
    options = {
        key: value
        for key, value in record.items()
        if key not in (*RUN_RECORD_KEYS, "overwrite", "resume") and value is not None
    }
    if command and not isinstance(options.get("phases"), list):
        words = ["tfbert", command]
        for key, value in options.items():
            if isinstance(value, bool):
                words.append(option_name(key if value else f"no_{key}"))
            else:
                words += [
                    option_name(key),
                    *map(str, value if isinstance(value, list) else [value]),
                ]
        parts.append(f"```sh\n{shlex.join(words)}\n{export}\n```")
    elif command:
        recipe = yaml.safe_dump(options, sort_keys=False)
        parts.append(f"```sh\ntfbert {command} --recipe recipe.yaml\n{export}\n```")
        parts.append(f"with this `recipe.yaml`:\n\n```yaml\n{recipe}```")
    else:
        parts.append(f"```sh\n{export}\n```")
    if versions := record.get("versions"):
        parts.append("Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".")
    return parts
