"""Keras finds the package's classes in `.keras` files after `import tfbert` alone.

A class registers itself with Keras when its module is imported, and `import tfbert` imports neither
Keras nor these modules. So each class has a stand-in among Keras' custom objects, which imports the
class when a file names it. The stand-ins are put there as soon as Keras is imported, which an entry
of `sys.meta_path` notices, or at once where it was imported before.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

# `tests/test_registration.py` compares them with the decorators in the code.
HOMES = {
    "AdamW": "tfbert.optimizers.adamw",
    "BertClassifier": "tfbert.models.classifier",
    "BertEncoder": "tfbert.models.encoder",
    "BertPretrainer": "tfbert.models.pretrainer",
    "BertTokenClassifier": "tfbert.models.token_classifier",
    "Dropout": "tfbert.models.layers.dropout",
    "LAMB": "tfbert.optimizers.lamb",
    "LARS": "tfbert.optimizers.lars",
    "LabelDecisions": "tfbert.tasks.problems.losses",
    "LossScaleOptimizer": "tfbert.optimizers.loss_scale",
    "PhasedSchedule": "tfbert.optimizers.schedules",
    "ReplacedValues": "tfbert.models.layers.self_attention",
    "SelfAttention": "tfbert.models.layers.self_attention",
    "SpanAccuracy": "tfbert.tasks.problems.span_loss",
    "SpanLoss": "tfbert.tasks.problems.span_loss",
    "SubsetAccuracy": "tfbert.tasks.problems.losses",
    "TextClassifier": "tfbert.models.text_classifier",
    "TransformerEncoder": "tfbert.models.layers.transformer",
    "WarmupPolynomialDecay": "tfbert.optimizers.schedules",
    "gelu": "tfbert.models.layers.kernels",
    "gelu_tanh": "tfbert.models.layers.kernels",
}


def prepare() -> None:
    """Sees to it that Keras has the stand-ins, now or when it is imported."""
    if "keras" in sys.modules:
        _register()
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


def _register() -> None:
    saving = sys.modules["keras"].saving
    for name, home in HOMES.items():
        # What was imported already is there itself.
        if f"tfbert>{name}" not in saving.get_custom_objects():
            is_class = name[0].isupper()
            stand_in = _class_for(name, home) if is_class else _function_for(name, home)
            saving.register_keras_serializable("tfbert", name)(stand_in)


def _class_for(name: str, home: str) -> type:
    """A class that Keras takes for the real one when it reads a file."""

    def from_config(cls: type, config: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        real = getattr(importlib.import_module(home), name)
        return real.from_config(config, *args, **kwargs)

    def get_config(self: Any) -> dict[str, Any]:
        raise NotImplementedError(f"the class is {home}.{name}")

    methods = {"from_config": classmethod(from_config), "get_config": get_config}
    return type(name, (), {**methods, "__module__": home})


def _function_for(name: str, home: str) -> Callable[..., Any]:
    """A function that calls the real one."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(home), name)(*args, **kwargs)

    function.__name__ = name
    return function


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Finds `keras` as it would be found without it, and registers after its import."""

    def __init__(self) -> None:
        self._is_searching = False

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of `keras`; None for any other module, which the other finders then find."""
        if fullname != "keras" or self._is_searching:
            return None
        self._is_searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._is_searching = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def then_register(module: ModuleType) -> None:
                execute(module)
                _register()

            spec.loader.exec_module = then_register  # type: ignore[method-assign]
        return spec
