"""What `config.json` or `bert_config.json` says of a BERT; what is not one is refused.

The keys are those of Google's release, which Hugging Face kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfbert.errors import InputError
from tfbert.types import ActivationName

# By Hugging Face's names. Google's code computes `gelu` by tanh, Hugging Face's by erf.
_ACTIVATIONS: dict[str, ActivationName] = {
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
}
_SIZES = {  # our argument: (their key, what the library takes where it is left out, the most)
    "vocabulary_size": ("vocab_size", 30_522, 10**8),
    "num_layers": ("num_hidden_layers", 12, 1_000),
    "num_heads": ("num_attention_heads", 12, 10_000),
    "hidden_dim": ("hidden_size", 768, 10**6),
    "intermediate_dim": ("intermediate_size", 3_072, 10**7),
    "max_sequence_length": ("max_position_embeddings", 512, 10**7),
    "num_segments": ("type_vocab_size", 2, 10**5),
}
SIZE_KEYS = tuple(_SIZES)
_NONE: tuple[Any, ...] = (None, False, {}, [], "")


def encoder_arguments(
    config: Any, where: object, gelu: ActivationName = "gelu", num_segments: int = 2
) -> dict[str, Any]:
    """The arguments of the `BertEncoder` that computes what a configuration says.

    Args:
        config: The content of the file.
        where: Its path, for messages.
        gelu: Which form the program that reads it takes for `"hidden_act": "gelu"`.
        num_segments: Its number of token types where the file does not say.

    Raises:
        InputError: If it is another architecture, or a value makes no sense.
    """
    if not isinstance(config, Mapping):
        raise InputError(f"{where}: damaged: not a JSON object")
    _check_architecture(config, where)
    arguments: dict[str, Any] = {}
    for argument, (key, default, most) in _SIZES.items():
        number = config.get(key, num_segments if key == "type_vocab_size" else default)
        if type(number) is not int or not 1 <= number <= most:
            raise InputError(
                f"{where}: {key} is {number!r}: it must be an integer from 1 to {most}"
            )
        arguments[argument] = number
    if arguments["hidden_dim"] % arguments["num_heads"]:
        raise InputError(
            f"{where}: num_attention_heads {arguments['num_heads']} does not divide hidden_size "
            f"{arguments['hidden_dim']}"
        )
    arguments["dropout"] = _rate(config, "hidden_dropout_prob", where, default=0.1)
    epsilon = config.get("layer_norm_eps", 1e-12)
    if type(epsilon) not in (int, float) or not 0 < epsilon < 1:
        raise InputError(f"{where}: layer_norm_eps is {epsilon!r}: it must be above 0 and below 1")
    arguments["layer_norm_epsilon"] = float(epsilon)
    arguments["activation"] = _activation(config, where, gelu)
    return arguments


def head_dropout(config: Mapping[str, Any], where: object) -> float:
    """The rate of the dropout before a classification head, which is the encoder's by default.

    Args:
        config: As `encoder_arguments` takes it, and has checked it.

    Raises:
        InputError: If it is no rate.
    """
    if config.get("classifier_dropout") is None:  # which the library writes for "as the encoder's"
        return _rate(config, "hidden_dropout_prob", where, default=0.1)
    return _rate(config, "classifier_dropout", where, default=0.1)


def _check_architecture(config, where):
    """Refuses what is not BERT, by what the file itself says."""
    kind = config.get("model_type", "bert")
    if kind != "bert":
        raise InputError(f"{where}: a {kind} model (model_type), not a BERT")
    names = config.get("architectures") or []
    for name in names if isinstance(names, list) else [names]:
        if not str(name).startswith(("Bert", "TFBert", "FlaxBert")):
            raise InputError(f"{where}: a {name} (architectures), not a BERT")
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise InputError(
            f"{where}: position_embedding_type is {positions!r}: only BERT's absolute positions "
            "are computed"
        )
    unlike_bert = {
        "is_decoder": "a decoder, which sees earlier tokens only",
        "add_cross_attention": "attention to another model",
        "pruned_heads": "layers with fewer heads than others",
        "quantization_config": "quantized weights; take the model in float32 or float16",
        "auto_map": "code of its own (Python files beside the weights), which is not executed",
        "rope_theta": "rotary positions",
        "rope_parameters": "rotary positions",
    }
    for key, meaning in unlike_bert.items():
        if config.get(key) not in _NONE:
            raise InputError(f"{where}: not a plain BERT: {key} says {meaning}")
    embedding_size = config.get("embedding_size", config.get("hidden_size"))
    if embedding_size != config.get("hidden_size"):
        raise InputError(
            f"{where}: embedding_size {embedding_size} differs from hidden_size, as in ALBERT and "
            "ELECTRA: not a BERT"
        )


def _activation(config, where, gelu):
    name = config.get("hidden_act", "gelu")
    if name == "gelu":
        return gelu
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise InputError(
            f"{where}: hidden_act is {name!r}, where BERT has GELU: gelu, {', '.join(_ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def _rate(config, key, where, default):
    rate = config.get(key, default)
    if type(rate) not in (int, float) or not 0 <= rate < 1:
        raise InputError(f"{where}: {key} is {rate!r}: it must be from 0 to below 1")
    return float(rate)
