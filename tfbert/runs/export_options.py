"""Options of `tfbert export`, and what is looked at before a model is loaded."""

import dataclasses
import importlib.util
from typing import Annotated, Literal

from tfbert.errors import InputError
from tfbert.io.paths import as_path, exists, is_remote, same_file, why_unwritable
from tfbert.options import BackendName, Options, Rule, require

FormatName = Literal["huggingface", "savedmodel", "onnx", "litert"]

# The file of each format by which a folder is known as an exported model.
MAIN_FILES = {
    "huggingface": "model.safetensors",
    "savedmodel": "saved_model.pb",
    "onnx": "model.onnx",
    "litert": "model.tflite",
}
_PACKAGES = {"onnx": ("onnx", "tf2onnx")}


@dataclasses.dataclass(frozen=True)
class ExportConfig(Options):
    """Write a trained model in another program's form.

    Args:
        model: A run directory, or anything else that `--model` of `finetune` takes.
        format: `huggingface`, a folder for Hugging Face's transformers; `savedmodel`, a classifier
            for TensorFlow and TensorFlow Serving that takes texts; `onnx` and `litert`, one file
            that takes token ids, with the tokenizer beside it.
        output: The folder to write.
        dtype: Type of the weights, of `huggingface` only: `float32`, or half the size by
            `float16` or `bfloat16`.
        backend: What Keras computes on, as in `finetune`; all formats but `huggingface` are
            TensorFlow's.
        overwrite: Replace an exported model that is already in the output folder.
    """

    model: str
    format: FormatName
    output: Annotated[str, Rule("a folder", lambda path: path != "")]
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    backend: BackendName | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        is_right = self.dtype == "float32" or self.format == "huggingface"
        require(is_right, "dtype", self.dtype, f"float32 for --format {self.format}")
        is_right = self.backend != "jax" or self.format == "huggingface"
        require(is_right, "backend", self.backend, f"tensorflow for --format {self.format}")


def check_export(config: ExportConfig) -> None:
    """Looks at the output folder, and for the packages that the format needs.

    Raises:
        InputError: If the folder holds something else than an exported model to be replaced, it
            cannot be written, or a package is missing.
    """
    output = as_path(config.output)
    if reason := why_unwritable(output):
        raise InputError(f"--output {output}: {reason}; name another folder")
    for package in _PACKAGES.get(config.format, ()):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"--format {config.format}: the package {package} is not installed; "
                'python -m pip install "tfbert[export]" installs what is needed'
            )
    if not exists(output) or not any(output.iterdir()):
        return
    if not any((output / name).exists() for name in MAIN_FILES.values()):
        raise InputError(
            f"--output {output}: holds files that are not an exported model; choose another"
        )
    if same_file(output, config.model):
        raise InputError(f"--output {output}: is the model itself; choose another")
    if not is_remote(output) and output.resolve() in as_path(config.model).resolve().parents:
        raise InputError(f"--output {output}: holds the model itself; choose another")
    if not config.overwrite:
        raise InputError(
            f"--output {output}: holds an exported model; choose another, or replace it with "
            "--overwrite"
        )
