"""Writes the tables of docs/models.md: which models come in, which go out, and how far apart.

usage: python scripts/model_formats.py [--data FOLDER]

Each source is made by its own library, and compared with what that library computes: random small
models by transformers and KerasHub, checkpoints by TensorFlow's savers; MiniLM is in FOLDER (by
default `TFBERT_TEST_DATA`, else ../shared/data). Each format that goes out is run by its own
runtime. Needs the extras `benchmarks` and `export`; takes two minutes on two cores.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

try:
    import onnxruntime
    import torch
    import transformers
    from ai_edge_litert.interpreter import Interpreter
    from model_sources import (
        SOURCES,
        by_transformers,
        computed_by_transformers,
        make_inputs,
    )
except ImportError as error:
    print(f"model_formats: {error}: see the extras benchmarks and export", file=sys.stderr)
    sys.exit(2)
import keras
import tensorflow as tf
from tokenizers import Tokenizer

from tfbert.io.whole import write_bytes
from tfbert.models.classifier import BertClassifier
from tfbert.models.encoder import weights_by_path
from tfbert.models.exports.trained import Pretrained, load_trained
from tfbert.models.sources import load_encoder
from tfbert.models.trained_model import TrainedModel, load_model, save_model
from tfbert.runs.export import export
from tfbert.runs.export_options import ExportConfig
from tfbert.runs.scoring import predict_outputs
from tfbert.tasks.problems.classification import Classification
from tfbert.tasks.tokens.tokenization import tokenize

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
TEXTS = ["a fine day, by the sea", "", "no", "a b c d e f g h i j k " * 9, "Straße \u00a0 naïve 中"]


def computed_by_us(folder, inputs):
    model = load_trained(str(folder))
    backbone = model.backbone if hasattr(model, "backbone") else model.model.backbone
    encoded = backbone(inputs)
    found = dict(encoded)
    if isinstance(model, TrainedModel):
        found["logits"] = model.model(inputs)
    elif isinstance(model, Pretrained):
        tokens = inputs["token_ids"]
        places = np.tile(np.arange(tokens.shape[1], dtype="int32"), (len(tokens), 1))
        found |= model.model({**inputs, "mask_positions": places})
    return {name: np.asarray(value) for name, value in found.items()}


def difference(ours, theirs, mask):
    """The largest difference of all outputs, on tokens that are no padding."""
    return max(
        np.abs((ours[name] - value)[mask] if value.ndim == 3 else ours[name] - value).max()
        for name, value in theirs.items()
    )


def incoming(folder, minilm):
    """Rows of the table of what comes in."""
    for number, (name, make) in enumerate(SOURCES.items()):
        inputs, theirs = make(folder / f"source{number}")
        yield name, *compared(folder / f"source{number}", inputs, theirs)
    inputs = make_inputs(30_522, 2)
    theirs = computed_by_transformers(transformers.BertModel, minilm, inputs)
    yield "MiniLM (all-MiniLM-L6-v2, 22.7 M weights)", *compared(minilm, inputs, theirs)


def compared(folder, inputs, theirs):
    """The names of outputs, and the largest difference."""
    largest = difference(computed_by_us(folder, inputs), theirs, inputs["padding_mask"] > 0)
    return ", ".join(name.removesuffix("_output") for name in sorted(theirs)), f"{largest:.1e}"


# === Formats that go out: each function returns the logits that the format's runtime computes ===


def logits_of_huggingface(folder, texts):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits.float().numpy()


def logits_of_savedmodel(folder, texts):
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return serve(text=tf.constant(texts))["logits"].numpy()


def token_inputs(folder, texts):
    rows = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(texts)
    return {
        "token_ids": np.array([row.ids for row in rows], np.int32),
        "segment_ids": np.array([row.type_ids for row in rows], np.int32),
        "padding_mask": np.array([row.attention_mask for row in rows], np.int32),
    }


def logits_of_onnx(folder, texts):
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    return session.run(["logits"], token_inputs(folder, texts))[0]


def logits_of_litert(folder, texts):
    run = Interpreter(str(folder / "model.tflite")).get_signature_runner("serving_default")
    return run(**token_inputs(folder, texts))["logits"]


RUNTIMES = {
    "huggingface": ("transformers and torch", logits_of_huggingface),
    "savedmodel": ("TensorFlow", logits_of_savedmodel),
    "onnx": ("onnxruntime", logits_of_onnx),
    "litert": ("ai-edge-litert", logits_of_litert),
}


def classifiers(folder, minilm):
    """(name, folder) of classifiers to be exported."""
    for name, activation in (("erf", "gelu"), ("tanh", "gelu_new")):
        make = by_transformers(
            "BertForSequenceClassification",
            hidden_act=activation,
            id2label={0: "no", 1: "yes", 2: "so so"},
        )
        place = folder / f"random-{name}"
        make(place)
        yield f"random, {name} GELU", place
    keras.utils.set_random_seed(0)
    encoder = load_encoder(str(minilm), "float32")
    model = BertClassifier(encoder.backbone, num_classes=2)
    model.output_dense.kernel.assign(keras.random.normal(model.output_dense.kernel.shape))
    trained = TrainedModel(
        model, encoder.tokenizer, Classification(["bad", "good"], "accuracy"), 128
    )
    save_model(trained, folder / "minilm")
    yield "MiniLM with a head", folder / "minilm"


def outgoing(folder, minilm):
    """Rows of the table of what goes out."""
    for name, source in classifiers(folder, minilm):
        classifier = load_model(str(source))
        tokens = tokenize(classifier.tokenizer, TEXTS, classifier.max_length)
        expected = predict_outputs(classifier, tokens, 64)
        for format_name, (runtime, logits_of) in RUNTIMES.items():
            output = folder / f"{source.name}-{format_name}"
            export(ExportConfig(model=str(source), format=format_name, output=str(output)))
            largest = np.abs(logits_of(output, TEXTS) - expected).max()
            again = "-"
            if format_name == "huggingface":
                again = number(round_trip(classifier, output))
            yield f"`{format_name}`", name, runtime, f"{largest:.1e}", again
            shutil.rmtree(output)


def outgoing_pretrainers(folder):
    """Rows of the table of what goes out, of a model with pre-training heads."""
    source = folder / "random-heads"
    make = by_transformers("BertForPreTraining", hidden_act="gelu_new")
    inputs, _ = make(source)
    expected = computed_by_us(source, inputs)
    for dtype in ("float32", "float16", "bfloat16"):
        output = folder / f"heads-{dtype}"
        options = {"model": str(source), "format": "huggingface", "output": str(output)}
        export(ExportConfig(**options, dtype=dtype))
        theirs = computed_by_transformers(transformers.BertForPreTraining, output, inputs)
        largest = difference(expected, theirs, inputs["padding_mask"] > 0)
        again = round_trip(load_trained(str(source)), output)
        name = f"random, pre-training heads, {dtype}"
        yield "`huggingface`", name, RUNTIMES["huggingface"][0], f"{largest:.1e}", number(again)


def number(value):
    return f"{value:.1e}" if value else "0"


def round_trip(classifier, folder):
    """The largest difference of a weight that went out and came in again."""
    ours = weights_by_path(classifier.model)
    again = weights_by_path(load_trained(str(folder)).model)
    return max(np.abs(np.asarray(ours[path]) - np.asarray(again[path])).max() for path in ours)


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = os.environ.get("TFBERT_TEST_DATA", PAGE.parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data))
    minilm = parser.parse_args().data / "minilm"
    if not minilm.exists():
        parser.error(f"{minilm}: no such folder")
    logging.getLogger("tfbert").setLevel("ERROR")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        parts = {
            "in": table(
                ["source", "outputs compared", "largest difference"],
                incoming(Path(scratch), minilm),
            ),
            "out": table(
                [
                    "format",
                    "model",
                    "run by",
                    "largest difference of logits",
                    "of weights, in again",
                ],
                [*outgoing(Path(scratch), minilm), *outgoing_pretrainers(Path(scratch))],
            ),
        }
    packages = ("tensorflow", "keras", "keras_hub", "transformers", "torch", "onnxruntime")
    versions = ", ".join(f"{name} {sys.modules[name].__version__}" for name in packages)
    parts["versions"] = [f"Made with {versions}."]
    text = PAGE.read_text("utf-8")
    for name, lines in parts.items():
        begin, end = (
            f"<!-- {name}: written by scripts/model_formats.py -->",
            f"<!-- end of {name} -->",
        )
        before, rest = text.split(begin)
        text = "\n".join([before + begin, "", *lines, "", end + rest.split(end)[1]])
    write_bytes(PAGE, text.encode())


if __name__ == "__main__":
    main()
