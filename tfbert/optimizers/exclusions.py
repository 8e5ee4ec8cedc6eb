"""Which variables have no weight decay, and which no layer adaptation, by their path."""

import re

from tfbert.optimizers.slots import variable_path

# LayerNorm's two vectors and every bias, by KerasHub's names; anchored, so that a layer called
# "gamma_projection" is no match.
NORMS_AND_BIASES = (r"(^|/)(gamma|beta|bias)$",)


class Exclusions:
    """Two lists of regular expressions, searched in a variable's path.

    Args:
        weight_decay: List of regular expressions; a match has no decay. None means "as the
            other list", `[]` means that no variable is excluded.
        layer_adaptation: Likewise; a match has a trust ratio of 1.

    With both None nothing is excluded.

    Raises:
        TypeError: a list that is a string, or holds something else than strings.
        ValueError: something that is no regular expression.
    """

    def __init__(self, weight_decay, layer_adaptation):
        self.weight_decay = _checked("exclude_from_weight_decay", weight_decay)
        self.layer_adaptation = _checked("exclude_from_layer_adaptation", layer_adaptation)

    def has_decay(self, path):
        """Whether the variable of this path decays."""
        return not _matches(_first_given(self.weight_decay, self.layer_adaptation), path)

    def is_adapted(self, path):
        """Whether the variable of this path has a trust ratio of its own."""
        return not _matches(_first_given(self.layer_adaptation, self.weight_decay), path)

    def with_weight_decay(self, variables, patterns):
        """A copy whose first list is `patterns` and the exact paths of `variables`."""
        patterns = _checked("var_names", patterns)
        paths = [f"^{re.escape(variable_path(v))}$" for v in variables]
        return Exclusions([*patterns, *paths], self.layer_adaptation)

    def get_config(self):
        """The two lists, under the names of the optimizers' arguments."""
        return {
            "exclude_from_weight_decay": self.weight_decay,
            "exclude_from_layer_adaptation": self.layer_adaptation,
        }


def _checked(name, patterns):
    if patterns is None:
        return None
    if isinstance(patterns, str) or not all(isinstance(p, str) for p in patterns):
        raise TypeError(f"{name} must be a list of regular expressions: {patterns!r}")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{name}: {pattern!r} is no regular expression: {error}") from None
    return list(patterns)


def _first_given(patterns, others):
    return others if patterns is None else patterns


def _matches(patterns, path):
    return any(re.search(pattern, path) for pattern in patterns or ())
