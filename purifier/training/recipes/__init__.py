"""How each bundled classifier is trained: one TOML file a classifier, read by ``read_recipe``."""

import tomllib
from dataclasses import field, fields
from pathlib import Path

from purifier.strict import built, strict

FOLDER = Path(__file__).parent


@strict
class Phase:
    """A stretch of training. The learning rate goes from ``lr[0]`` to ``lr[1]`` along half a cosine."""

    name: str
    size: int  # pixels a side
    steps: int
    lr: tuple[float, float]
    thumbnails: bool = False  # add BCN20000's thumbnails to the training pictures
    restart: bool = False  # go on from the averaged weights, with a new optimizer
    purified: float = 0.0  # share of each batch that is purified
    attacked_first: float = 0.0  # share of each batch that is attacked before it is purified
    diffused: float = 0.0  # each picture gets noise of a strength of its own, at most of this many 1/255
    eps: tuple[float, float] = (0.0, 0.0)  # of adversarial training in 1/255, at the start and the end of the phase
    attacked: float = 0.0  # share of each batch that is attacked
    noise: float = 0.0  # in epsilons: the start of N-FGSM's single step, which leaves the ball; 0: it stays inside


@strict
class Recipe:
    """Everything that decides how a classifier is trained, besides the data and the seed."""

    name: str
    architecture: str  # of timm
    start: str  # imagenet, random, or the name of a bundled classifier
    size: int  # pixels a side that the finished classifier looks at
    phases: tuple[Phase, ...]
    model_args: dict = field(default_factory=dict)  # of timm's create_model
    batch: int = 32  # pictures a step, of each process
    balance: float = 0.5  # pictures are drawn by their diagnosis's frequency to the power of minus this
    least_accuracy: float = 0.8  # validation accuracy that the logit adjustment must keep
    least_purified_accuracy: float = 0.0  # the same on purified pictures


def recipe_names() -> list[str]:
    """The classifiers that have a recipe."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_recipe(source: str | Path) -> Recipe:
    """The recipe of a bundled classifier by its name, or of a TOML file of one's own by its path.

    Raises ``ValueError`` for a name without recipe, a key that is unknown or missing, and a value of another type.
    """
    path = Path(source) if str(source).endswith(".toml") else FOLDER / f"{source}.toml"
    if not path.is_file():
        raise ValueError(
            f"There is no recipe {str(source)!r}. There are {', '.join(recipe_names())}; "
            f"or give the path of a .toml file of your own."
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return built(Recipe, {**table, "name": path.stem})
    except (ValueError, TypeError) as error:  # TypeError: a date
        known = ", ".join(f.name for f in (*fields(Recipe), *fields(Phase)))
        raise ValueError(f"{path} is not a recipe: {error}. A recipe knows the keys {known}.") from error
