"""What scripts/model_formats.py opens: models of other libraries, with what these compute."""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import keras_hub
import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from helpers.foreign_models import (
    reference,
    write_keras_h5,
    write_model_garden,
    write_tensorflow1,
)

SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
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


def by_transformers(class_name, dtype="float32", shard_size="5GB", rename=None, **config):
    """A function that saves a random model of transformers', and computes with it."""

    def make(folder):
        torch.manual_seed(0)
        model_class = getattr(transformers, class_name)
        model = model_class(transformers.BertConfig(**{**SMALL, **config}))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                # Large enough that every part shows; norms' scales stay near 1.
                weight.normal_(mean=float(name.endswith("LayerNorm.weight")), std=0.2)
        model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard_size)
        (folder / "vocab.txt").write_text("".join(piece + "\n" for piece in PIECES))
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
        inputs = make_inputs(len(PIECES), model.config.type_vocab_size)
        outputs = computed_by_transformers(model_class, folder, inputs)
        if rename:
            path = folder / "model.safetensors"
            weights = load_file(path)
            save_file({rename(name): value for name, value in weights.items()}, path)
        return inputs, outputs

    return make


def computed_by_transformers(model_class, folder, inputs):
    model = model_class.from_pretrained(folder, dtype=torch.float32).eval()
    names = {"token_ids": "input_ids", "segment_ids": "token_type_ids"}
    names["padding_mask"] = "attention_mask"
    tensors = {names[name]: torch.tensor(value).long() for name, value in inputs.items()}
    with torch.no_grad():
        output = model(**tensors)
        encoded = getattr(model, "bert", model)(**tensors)
    found = {
        "sequence_output": encoded.last_hidden_state,
        "pooled_output": encoded.pooler_output,
    }
    if "prediction_logits" in output:
        found |= {"mlm": output.prediction_logits, "nsp": output.seq_relationship_logits}
    elif "start_logits" in output:
        found["logits"] = torch.stack([output.start_logits, output.end_logits], -1)
    elif "logits" in output:
        is_mlm = output.logits.ndim == 3 and output.logits.shape[-1] == model.config.vocab_size
        found["mlm" if is_mlm else "logits"] = output.logits
    return {name: value.numpy() for name, value in found.items() if value is not None}


def in_another_form(write, kind, without=()):
    """A function that writes a model of transformers' in another program's form.

    `without` names outputs of heads that the form lacks.
    """

    def make(folder):
        write(kind, folder)
        inputs, outputs = reference(kind)
        return inputs, {name: value for name, value in outputs.items() if name not in without}

    return make


def by_keras_hub(folder):
    """A preset with random weights."""
    keras.utils.set_random_seed(0)
    stock = keras_hub.models.BertBackbone(60, 2, 4, 32, 64, max_sequence_length=40)
    for variable in stock.weights:
        variable.assign(variable + 0.2 * keras.random.normal(variable.shape))
    stock.save_to_preset(str(folder))
    keras_hub.models.BertTokenizer(PIECES, lowercase=True).save_to_preset(str(folder))
    inputs = make_inputs(len(PIECES), 2)
    return inputs, {name: np.asarray(value) for name, value in stock(inputs).items()}


def old_name(name):
    """Names of the first years: `gamma`, `beta`, no `bert.`."""
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma").removeprefix("bert.")
    return name.replace("LayerNorm.bias", "LayerNorm.beta")


# Each makes a folder, and returns inputs and what the library that made the model computes.
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
    "the same, several labels a text": by_transformers(
        "BertForSequenceClassification",
        id2label={0: "no", 1: "yes", 2: "so so"},
        problem_type="multi_label_classification",
    ),
    "the same, a number": by_transformers("BertForSequenceClassification", num_labels=1),
    "`BertForTokenClassification`": by_transformers(
        "BertForTokenClassification", id2label={0: "B-place", 1: "I-place", 2: "O"}
    ),
    "`BertForQuestionAnswering`": by_transformers("BertForQuestionAnswering"),
    "float16": by_transformers("BertForPreTraining", dtype="float16"),
    "bfloat16": by_transformers("BertForPreTraining", dtype="bfloat16"),
    "several files (shards)": by_transformers("BertForPreTraining", shard_size="20KB"),
    "`gamma`, `beta`, no `bert.`": by_transformers("BertForPreTraining", rename=old_name),
    "`tf_model.h5`": in_another_form(write_keras_h5, "pretraining"),
    "TensorFlow 1 checkpoint, Google's names": in_another_form(
        write_tensorflow1, "pretraining_tanh"
    ),
    "TensorFlow 2 checkpoint of Model Garden's": in_another_form(
        write_model_garden, "pretraining_tanh", without=["nsp"]
    ),
    "KerasHub preset": by_keras_hub,
}
