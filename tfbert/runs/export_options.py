"""Options of `tfbert export`: a frozen dataclass, validated when it is made."""

import dataclasses
from typing import Annotated, Literal

from tfbert.options import Options, Rule, require

FormatName = Literal["huggingface", "savedmodel", "onnx", "litert"]


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
        overwrite: Replace an exported model that is already in the output folder.
    """

    model: str
    format: FormatName
    output: Annotated[str, Rule("a folder", lambda path: path != "")]
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        is_right = self.dtype == "float32" or self.format == "huggingface"
        require(is_right, "dtype", self.dtype, f"float32 for --format {self.format}")
