"""What a pre-training does: phases and stages, and what they cost; named recipes as YAML files.

May import `models/` and what lies below it.
"""

from pathlib import Path

from tfbert.errors import InputError
from tfbert.options import suggestion

_DIRECTORY = Path(__file__).parent


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package, sorted."""
    return sorted(path.stem for path in _DIRECTORY.glob("*.yaml"))


def recipe_path(recipe: str) -> Path:
    """The file of a recipe.

    Args:
        recipe: A name, or the path of a YAML file, such as `config.yaml` of a run.

    Raises:
        InputError: If there is neither.
    """
    named = _DIRECTORY / f"{recipe}.yaml"
    if recipe in recipe_names():
        return named
    if Path(recipe).is_file():
        return Path(recipe)
    raise InputError(
        f"--recipe {recipe}: no such file, and no recipe of that name; recipes are "
        + ", ".join(recipe_names())
        + suggestion(recipe, recipe_names(), "", "; ")
    )
