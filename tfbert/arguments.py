"""The command line's options, read off the configuration classes: names, types, defaults, help."""

import argparse
import dataclasses
import inspect
import re
import types
from collections.abc import Collection, Sequence
from typing import Any, NoReturn, get_args, get_origin

import yaml

from tfbert.errors import InputError
from tfbert.options import is_required, option_name, option_types, parts_of_type, suggestion


class CommandParser(argparse.ArgumentParser):
    """A parser whose options are fields of configurations, and whose errors are `InputError`s.

    What the command line does not give is left out of the result, so that a file's options can
    stand below those of the command line, and the configuration's defaults below both.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._known: list[str] = []
        super().__init__(argument_default=argparse.SUPPRESS, allow_abbrev=False, **kwargs)
        # So that -1e-4 is a number, as -1 and -0.1 are: the value of the option before it.
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")

    def add_options(
        self,
        config_class: type,
        skip: Collection[str] = (),
        positional: str | None = None,
        prefix: str = "",
    ) -> None:
        """Adds an option for every field: `--text-column` for `text_column`.

        Args:
            config_class: A dataclass whose docstring describes the fields.
            skip: Fields that the command line does not take.
            positional: A field that is given without its name: `tfbert inspect DIR`.
            prefix: What stands before the names: `phases.0.`.
        """
        hints, texts = option_types(config_class), _help_texts(config_class)
        # A class's own fields come before those of its base, which are keyword-only.
        fields = sorted(dataclasses.fields(config_class), key=lambda field: bool(field.kw_only))
        for field in fields:
            if field.name in skip:
                continue
            hint, is_positional = hints[field.name], field.name == positional
            text = _with_dashes(texts[field.name], hints) + _default_in_words(field)
            settings: dict[str, Any] = {"help": text.replace("%", "%%")}
            if hint is bool and not prefix:
                settings["action"] = argparse.BooleanOptionalAction
            else:
                settings.update(action=_Store, hint=hint, metavar=_names(hint))
                if _takes_list(hint):
                    settings["nargs"] = "*" if is_positional else "+"
            names = [field.name] if is_positional else [option_name(prefix + field.name)]
            if prefix and "_" in field.name:
                names.append(f"--{prefix}{field.name}")  # as YAML files have it
            self.add_argument(*names, **settings)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """As in `argparse`; remembers the names."""
        self._known.extend(names)
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        """Raises `InputError` with a message of `argparse`."""
        message = message.removeprefix("argument ")
        raise InputError(f"{message}; `{self.prog} --help` lists what each option takes")

    def refuse(self, words: Sequence[str]) -> None:
        """Raises `InputError` for the first of the words that no option took, if there are any."""
        if words:
            word = words[0].partition("=")[0]
            hint = suggestion(word, self._known, f"`{self.prog} --help` lists them")
            raise InputError(f"{word} is not an option of `{self.prog}`; {hint}")


class _Store(argparse.Action):
    """Stores the value that the words of an option stand for."""

    def __init__(self, hint: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.hint = hint

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, _parsed(self.hint, values))


def _parsed(hint: Any, words: str | list[str]) -> Any:
    """The value of words: the text itself where an option takes text, else what it is in YAML.

    A list has one word an item, or is one word: `1 2.5`, `1,2.5` or `[1, 2.5]`. The configuration
    checks whether the value is of the right type.
    """
    kinds = parts_of_type(hint)
    if isinstance(words, list):
        if len(words) == 1 and str not in kinds and words[0][:1] != "[":
            words = words[0].split(",")
        values = [_parsed(hint, word) for word in words]
        if get_origin(hint) is list and not any(isinstance(value, list) for value in values):
            return (
                values  # a name stands for itself where there may be lists, and here are only lists
            )
        is_whole = len(values) == 1 and str not in kinds and not isinstance(values[0], int | float)
        return values[0] if is_whole else values
    if str in kinds:
        return None if words == "null" and types.NoneType in kinds else words
    if not words or words in kinds:  # the names of a `Literal` are among the kinds
        return words
    try:
        value = yaml.safe_load(words)
    except yaml.YAMLError:
        return words
    return value if value is None or isinstance(value, int | float | list) else words


def _names(hint: Any) -> str | None:
    """`{stack,mslt}` for an option that takes nothing but names."""
    kinds = [kind for kind in parts_of_type(hint) if kind is not types.NoneType]
    is_name = all(isinstance(kind, str) for kind in kinds)
    return "{" + ",".join(kinds) + "}" if is_name else None


def _with_dashes(text: str, options: Collection[str]) -> str:
    """A help text in which options stand as on the command line: `--eval-data`."""
    names = [name for name in options if "_" in name]
    return re.sub(rf"`({'|'.join(names) or '-'})`", lambda m: f"`{option_name(m[1])}`", text)


def _takes_list(hint: Any) -> bool:
    return get_origin(hint) is list or any(map(_takes_list, get_args(hint)))


def _default_in_words(field: dataclasses.Field) -> str:
    if is_required(field):
        return " (required)"
    make = field.default_factory
    value = field.default if make is dataclasses.MISSING else make()
    if value is None or value == []:
        return ""
    return f" (default: {str(value).lower() if isinstance(value, bool) else value})"


def _help_texts(config_class: type) -> dict[str, str]:
    """The text of every field in the `Args:` of a class's docstring and of its bases'."""
    texts: dict[str, str] = {}
    for owner in reversed(config_class.__mro__):
        _, _, section = inspect.cleandoc(owner.__doc__ or "").partition("\nArgs:\n    ")
        section = section.partition("\n\n")[0]
        for entry in section.replace("\n        ", " ").split("\n    "):
            names, _, text = entry.partition(": ")
            # `a, b: As in the base` says nothing new: the base's own text is kept.
            texts.update({name: text for name in names.split(", ") if name not in texts})
    return texts
