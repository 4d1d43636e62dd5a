import copy
import pickle
from dataclasses import asdict, replace

import pytest

from purifier.attacks import AttackSettings
from purifier.pipeline import Purifier
from purifier.runs import Attack, Settings
from purifier.strict import built
from purifier.training.recipes import Phase, Recipe

PHASE = dict(name="only", size=48, steps=2, lr=[1e-3, 1e-4])
RECIPE = dict(name="mine", architecture="resnet18", start="random", size=64, phases=[PHASE])


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (Purifier, dict(steps=2.5), "steps must be a valid integer, and is 2.5."),
        (Purifier, dict(steps=2.0), "steps must be a valid integer, and is 2.0."),
        (Purifier, dict(blocks=True), "blocks must be a valid integer, and is True."),
        (Purifier, dict(coupled="yes"), "coupled must be a valid boolean, and is 'yes'."),
        (Purifier, dict(coupled=1), "coupled must be a valid boolean, and is 1."),
        (Purifier, dict(weight="0.1"), "weight must be a valid number, and is '0.1'."),
        (Purifier, dict(weight=None), "weight must be a valid number, and is None."),
        (Purifier, dict(scales=3), "scales must be a valid tuple, and is 3."),
        (Purifier, dict(scales=(1, "0.5")), "scales.1 must be a valid number, and is '0.5'."),
        (Purifier, dict(wieght=0.1), "'wieght' is not known, and is 0.1."),
        (AttackSettings, dict(samples=True), "samples must be a valid integer, and is True."),
        (AttackSettings, dict(method=None), "method must be a valid string, and is None."),
        (Attack, dict(seed="1"), "seed must be a valid integer, and is '1'."),
        (Attack, dict(stopped_after=0), "stopped_after must be at least 1, and is 0."),
        (Settings, dict(classifier=5), "classifier must be a valid string, and is 5."),
        (Phase, {**PHASE, "lr": (1e-3, 1e-4), "thumbnails": 1}, "thumbnails must be a valid boolean, and is 1."),
    ],
)
def test_what_a_field_does_not_hold_is_refused_by_name_and_value(kind, values, says):
    with pytest.raises(ValueError) as error:
        kind(**values)
    assert str(error.value) == says


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (Settings, {"purifier": {"steps": 2.5}}, "purifier.steps must be a valid integer, and is 2.5."),
        (Settings, {"purifier": 3}, "purifier must be an object, and is 3."),
        (Settings, {"purifier": {"sigma": float("nan")}}, "sigma must lie between 0 and 1, and is nan."),
        (Settings, {"purifier": {"blocks": 0}}, "blocks must be a whole number of at least 1, and is 0."),
        (Settings, {"attack": {"settings": {"stepz": 3}}}, "'stepz' in attack.settings is not known, and is 3."),
        (Settings, {"attack": {"known": {"coupled": 1}}}, "attack.known.coupled must be a valid boolean, and is 1."),
        (Settings, [], "Settings must be an object, and is []."),
        (Recipe, {**RECIPE, "size": "64"}, "size must be a valid integer, and is '64'."),
        (Recipe, {**RECIPE, "phases": [PHASE, {**PHASE, "lr": [1]}]}, "'1' in phases.1.lr is missing."),
        (Recipe, {**RECIPE, "phases": [{"name": "only"}]}, "'size' in phases.0 is missing."),
    ],
)
def test_so_it_is_inside_what_json_and_toml_hold(kind, values, says):
    with pytest.raises(ValueError) as error:
        built(kind, values)
    assert str(error.value) == says


def test_lists_and_whole_numbers_are_welcome():
    assert Purifier(scales=[1, 0.5], weight=0) == Purifier(scales=(1.0, 0.5), weight=0.0)
    purifier = Purifier(scales=(1.0, 0.5), own=1.0)
    assert built(Settings, {"purifier": {"scales": [1, 0.5], "own": 1}}) == Settings(purifier=purifier)
    assert built(Recipe, RECIPE).phases == (Phase(**{**PHASE, "lr": (1e-3, 1e-4)}),)


def test_they_are_plain_frozen_dataclasses():
    settings = Settings(attack=Attack(known=Purifier(scales=[1])), purifier=Purifier())
    assert settings == copy.deepcopy(settings) == pickle.loads(pickle.dumps(settings))
    assert len({settings, copy.deepcopy(settings), replace(settings, seed=1)}) == 2
    assert asdict(settings)["attack"]["known"]["scales"] == (1.0,)
    with pytest.raises(ValueError, match="steps must be a valid integer, and is 2.5"):
        replace(settings.purifier, steps=2.5)
    with pytest.raises(AttributeError):
        settings.seed = 1
