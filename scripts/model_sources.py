"""What scripts/model_formats.py opens: models of other libraries, with what these compute."""

import json
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import h5py
import keras
import keras_hub
import numpy as np
import tensorflow as tf
import torch
import transformers
from safetensors.numpy import load_file, save_file

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


# Each fills a folder, and returns outputs of the library that made it.
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
