"""tfbert: train BERT with Keras, on one laptop, on several GPUs or on a Cloud TPU.

The names below are imported on first use (PEP 562), so that `import tfbert` and
`tfbert --help` do not wait for TensorFlow.
"""

import importlib

from tfbert import registration
from tfbert._version import __version__
from tfbert.hardware import surroundings, tpu_environment

# TensorFlow and Keras read it when they are imported, which may be at the next name.
surroundings.prepare()
tpu_environment.prepare()
# Keras is to find the package's classes in a file, and is not imported yet.
registration.prepare()

_HOMES = {
    "AdamW": "tfbert.optimizers.adamw",
    "BertClassifier": "tfbert.models.classifier",
    "BertEncoder": "tfbert.models.encoder",
    "BertPretrainer": "tfbert.models.pretrainer",
    "BertTokenClassifier": "tfbert.models.token_classifier",
    "DistributedTrainer": "tfbert.fit.trainer",
    "Dropout": "tfbert.models.layers.dropout",
    "EvaluateConfig": "tfbert.runs.command_options",
    "ExportConfig": "tfbert.runs.export_options",
    "FinetuneConfig": "tfbert.runs.command_options",
    "GlueConfig": "tfbert.runs.glue.glue_options",
    "LAMB": "tfbert.optimizers.lamb",
    "LabelledData": "tfbert.tasks.labelled_data",
    "LARS": "tfbert.optimizers.lars",
    "LossScaleOptimizer": "tfbert.optimizers.loss_scale",
    "OptimizerLogger": "tfbert.optimizers.logger",
    "PhasedSchedule": "tfbert.optimizers.schedules",
    "Phase": "tfbert.recipes.phases",
    "PredictConfig": "tfbert.runs.command_options",
    "PretrainConfig": "tfbert.recipes.pretrain_options",
    "Recovery": "tfbert.recovery.recovery_options",
    "TextClassifier": "tfbert.models.text_classifier",
    "WarmupPolynomialDecay": "tfbert.optimizers.schedules",
    "evaluate": "tfbert.runs.evaluate",
    "export": "tfbert.runs.export",
    "finetune": "tfbert.runs.finetune",
    "get_strategy": "tfbert.hardware.strategies",
    "glue": "tfbert.runs.glue.suite",
    "grow": "tfbert.models.growth",
    "load_model": "tfbert.models.trained_model",
    "load_encoder": "tfbert.models.sources",
    "predict": "tfbert.runs.predict",
    "pretrain": "tfbert.runs.pretrain",
    "predict_texts": "tfbert.runs.predict",
    "register_problem": "tfbert.tasks.known_problems",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'tfbert' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return __all__
