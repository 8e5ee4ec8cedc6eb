"""Writes the tables of docs/models.md: which models come in, which go out, and how far apart.

usage: python scripts/model_formats.py [--data FOLDER]

Each source is made by its own library, and compared with what that library computes: random small
models by transformers and KerasHub, a checkpoint by TensorFlow 1's saver; MiniLM is in FOLDER (by
default `TFBERT_TEST_DATA`, else ../shared/data). Each format that goes out is run by its own
runtime. Needs the extras `benchmarks` and `export`; takes two minutes on two cores.
"""

import argparse
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

try:
    import h5py
    import onnxruntime
    import torch
    import transformers
    from ai_edge_litert.interpreter import Interpreter
    from safetensors.numpy import load_file, save_file
except ImportError as error:
    print(f"model_formats: {error}: see the extras benchmarks and export", file=sys.stderr)
    sys.exit(2)
import keras
import keras_hub
import tensorflow as tf
from tokenizers import Tokenizer

from tfbert.io.whole import write_bytes
from tfbert.models.classifier import (
    BertClassifier,
    TrainedClassifier,
    load_classifier,
    save_classifier,
)
from tfbert.models.encoder import weights_by_path
from tfbert.models.exports.trained import Pretrained, load_trained
from tfbert.models.sources import load_encoder
from tfbert.runs.export import export
from tfbert.runs.export_options import ExportConfig
from tfbert.runs.scoring import predict_logits
from tfbert.tasks.tokenization import tokenize

PAGE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
TEXTS = ["a fine day, by the sea", "", "no", "a b c d e f g h i j k " * 9, "Straße \u00a0 naïve 中"]
LENGTHS = np.array([17, 1, 9, 16])


def make_inputs(vocabulary_size, segments):
    random = np.random.default_rng(0)
    ids = random.integers(5, vocabulary_size, (len(LENGTHS), LENGTHS.max()))
    return {
        "token_ids": ids.astype("int32"),
        "segment_ids": (np.arange(ids.shape[1]) > 6).astype("int32")
        * np.ones_like(ids, "int32")
        % segments,
        "padding_mask": (np.arange(ids.shape[1]) < LENGTHS[:, None]).astype("int32"),
    }


# === Sources: each function fills a folder and returns outputs of the library that made it ===


def by_transformers(class_name, dtype="float32", shard_size="5GB", rename=None, **config):
    """A function that saves a random model of transformers', and computes with it."""

    def make(folder, inputs):
        torch.manual_seed(0)
        model_class = getattr(transformers, class_name)
        model = model_class(transformers.BertConfig(**{**SMALL, **config}))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                # Large enough that every part shows; norms' scales stay near 1.
                weight.normal_(mean=float(name.endswith("LayerNorm.weight")), std=0.2)
        model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard_size)
        write_vocabulary(folder)
        outputs = computed_by_transformers(model_class, folder, inputs)
        if rename:
            path = folder / "model.safetensors"
            weights = load_file(path)
            save_file({rename(name): value for name, value in weights.items()}, path)
        return outputs

    return make


def write_vocabulary(folder):
    (folder / "vocab.txt").write_text("".join(piece + "\n" for piece in PIECES))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))


def computed_by_transformers(model_class, folder, inputs):
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    names = {"token_ids": "input_ids", "segment_ids": "token_type_ids"}
    names["padding_mask"] = "attention_mask"
    tensors = {names[name]: torch.tensor(value).long() for name, value in inputs.items()}
    with torch.no_grad():
        output = model(**tensors)
        encoded = getattr(model, "bert", model)(**tensors)
    found = {"sequence": encoded.last_hidden_state, "pooled": encoded.pooler_output}
    if "prediction_logits" in output:
        found |= {"mlm": output.prediction_logits, "nsp": output.seq_relationship_logits}
    elif "logits" in output:
        is_mlm = output.logits.ndim == 3 and output.logits.shape[-1] == model.config.vocab_size
        found["mlm" if is_mlm else "logits"] = output.logits
    return {name: value.numpy() for name, value in found.items() if value is not None}


def by_tensorflow_1(folder, inputs):
    """Google's names of a `BertForPreTraining`, saved by TensorFlow 1's saver."""
    make = by_transformers("BertForPreTraining", hidden_act="gelu_new")
    outputs = make(folder, inputs)
    weights = load_file(folder / "model.safetensors")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in weights.items():
            name, value = google_form(name, value)
            tf.compat.v1.get_variable(name, initializer=value)
        tf.compat.v1.get_variable("global_step", initializer=7)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "bert_model.ckpt"))
    config = json.loads((folder / "config.json").read_text())
    keys = (*SMALL, "type_vocab_size", "hidden_dropout_prob", "attention_probs_dropout_prob")
    google = {key: config[key] for key in keys} | {"hidden_act": "gelu"}  # Google's is tanh's
    (folder / "bert_config.json").write_text(json.dumps(google))
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        (folder / name).unlink()
    return outputs


def google_form(name, value):
    """Google's name and shape of a weight."""
    parts = name.replace("encoder.layer.", "encoder.layer_").split(".")
    if name == "cls.predictions.bias":
        return "cls/predictions/output_bias", value
    if parts[1] == "seq_relationship":
        return f"cls/seq_relationship/output_{'bias' if value.ndim == 1 else 'weights'}", value
    if parts[-2] == "LayerNorm":
        parts[-1] = {"weight": "gamma", "bias": "beta"}[parts[-1]]
    elif parts[-2].endswith("embeddings"):
        parts.pop()
    elif parts[-1] == "weight":
        parts[-1], value = "kernel", np.ascontiguousarray(value.T)
    return "/".join(parts), value


def by_keras_hub(folder, inputs):
    keras.utils.set_random_seed(0)
    stock = keras_hub.models.BertBackbone(60, 2, 4, 32, 64, max_sequence_length=40)
    for variable in stock.weights:
        variable.assign(variable + 0.2 * keras.random.normal(variable.shape))
    stock.save_to_preset(str(folder))
    tokenizer = keras_hub.models.BertTokenizer(PIECES, lowercase=True)
    tokenizer.save_to_preset(str(folder))
    output = stock(inputs)
    return {
        "sequence": np.asarray(output["sequence_output"]),
        "pooled": np.asarray(output["pooled_output"]),
    }


def old_name(name):
    """Names of the first years: `gamma`, `beta`, no `bert.`."""
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma").removeprefix("bert.")
    return name.replace("LayerNorm.bias", "LayerNorm.beta")


def by_keras_2(folder, inputs):
    """`tf_model.h5` as transformers 4 wrote it with Keras 2: a group a layer, `:0` after names."""
    outputs = by_transformers("BertForPreTraining")(folder, inputs)
    path = folder / "model.safetensors"
    heads = {"cls.predictions": "mlm___cls", "cls.seq_relationship": "nsp___cls"}
    with h5py.File(folder / "tf_model.h5", "w") as file:
        for name, value in load_file(path).items():
            group = next(
                (theirs for head, theirs in heads.items() if name.startswith(head)), "bert"
            )
            file[f"{group}/tf_bert_for_pre_training/{keras_2_name(name, value)}:0"] = (
                np.ascontiguousarray(value.T) if is_matrix(name) else value
            )
    path.unlink()
    return outputs


def is_matrix(name):
    return name.endswith(".weight") and "LayerNorm" not in name and "embeddings." not in name


def keras_2_name(name, value):
    """transformers' name in TensorFlow of a weight."""
    heads = {"cls.predictions": "mlm___cls.predictions", "cls.seq": "nsp___cls.seq"}
    for head, theirs in heads.items():
        name = name.replace(head, theirs)
    *parts, kind = name.split(".")
    if parts[-1] == "LayerNorm":
        kind = {"weight": "gamma", "bias": "beta"}[kind]
    elif parts[-1].endswith("embeddings"):
        kind = {"word_embeddings": "weight"}.get(parts[-1], "embeddings")
    elif kind == "weight":
        kind = "kernel"
    return re.sub(r"layer/(\d+)", r"layer_._\1", "/".join([*parts, kind]))


SOURCES = {
    "Hugging Face `BertModel`, erf GELU": by_transformers("BertModel"),
    "the same, tanh GELU (`gelu_new`)": by_transformers("BertModel", hidden_act="gelu_new"),
    "epsilon 1e-5, one token type": by_transformers(
        "BertModel", layer_norm_eps=1e-5, type_vocab_size=1
    ),
    "`BertForPreTraining`": by_transformers("BertForPreTraining"),
    "`BertForMaskedLM` (no pooler)": by_transformers("BertForMaskedLM"),
    "`BertForSequenceClassification`": by_transformers(
        "BertForSequenceClassification", id2label={0: "no", 1: "yes", 2: "so so"}
    ),
    "float16": by_transformers("BertForPreTraining", dtype="float16"),
    "bfloat16": by_transformers("BertForPreTraining", dtype="bfloat16"),
    "several files (shards)": by_transformers("BertForPreTraining", shard_size="20KB"),
    "`gamma`, `beta`, no `bert.`": by_transformers("BertForPreTraining", rename=old_name),
    "`tf_model.h5`": by_keras_2,
    "TensorFlow 1 checkpoint, Google's names": by_tensorflow_1,
    "KerasHub preset": by_keras_hub,
}


def computed_by_us(folder, inputs):
    model = load_trained(str(folder))
    backbone = model.backbone if hasattr(model, "backbone") else model.model.backbone
    encoded = backbone(inputs)
    found = {"sequence": encoded["sequence_output"], "pooled": encoded["pooled_output"]}
    if isinstance(model, TrainedClassifier):
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
        place = folder / f"source{number}"
        place.mkdir()
        inputs = make_inputs(len(PIECES), 1 if "one token type" in name else 2)
        theirs = make(place, inputs)
        largest = difference(computed_by_us(place, inputs), theirs, inputs["padding_mask"] > 0)
        yield name, ", ".join(theirs), f"{largest:.1e}"
    inputs = make_inputs(30_522, 2)
    theirs = computed_by_transformers(transformers.BertModel, minilm, inputs)
    largest = difference(computed_by_us(minilm, inputs), theirs, inputs["padding_mask"] > 0)
    yield "MiniLM (all-MiniLM-L6-v2, 22.7 M weights)", ", ".join(theirs), f"{largest:.1e}"


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
        place.mkdir()
        make(place, make_inputs(len(PIECES), 2))
        yield f"random, {name} GELU", place
    keras.utils.set_random_seed(0)
    encoder = load_encoder(str(minilm), "float32")
    model = BertClassifier(encoder.backbone, num_classes=2)
    model.output_dense.kernel.assign(keras.random.normal(model.output_dense.kernel.shape))
    trained = TrainedClassifier(model, encoder.tokenizer, ["bad", "good"], 128)
    save_classifier(trained, folder / "minilm")
    yield "MiniLM with a head", folder / "minilm"


def outgoing(folder, minilm):
    """Rows of the table of what goes out."""
    for name, source in classifiers(folder, minilm):
        classifier = load_classifier(str(source))
        tokens = tokenize(classifier.tokenizer, TEXTS, classifier.max_length)
        expected = predict_logits(classifier, tokens, 64)
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
    source.mkdir()
    inputs = make_inputs(len(PIECES), 2)
    by_transformers("BertForPreTraining", hidden_act="gelu_new")(source, inputs)
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
