"""Every text that the page can say."""

import ast
import importlib
from pathlib import Path

from jinja2 import Environment, nodes

from purifier import texts
from purifier.attacks import ATTACKS
from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.defences import FAMILIES
from purifier.evaluation.attackers import KINDS
from purifier.evaluation.settings import OF_OTHERS
from purifier.lessons import LESSONS
from purifier.results.record import ANY
from purifier.ui import controls
from purifier.ui.presets import PRESETS
from purifier.wording.runs import DENOISERS
from tests.helpers.paths import ROOT

IN_BROWSER = {"label": 0, "translate": 0, "slider": 2}  # what translates, and which argument is the text


TRANSLATORS = {
    "say": 0,
    "say_html": 0,
    **{kind: 0 for kind, is_kind in vars(texts).items() if isinstance(is_kind, type)},
    **IN_BROWSER,
}
PROPER = (  # the same in every language
    "AutoAttack", "Carlini & Wagner L2 ({steps})", "DeepFool ({steps})", "ART's SpatialSmoothing", "ART's TotalVarMin",
)  # fmt: skip


TABLES = {  # texts that are said by another name than their own
    "attackers.py": [kind.words for kind in KINDS.values()],
    "record.py": [ANY.words],
    "attacks.py": [method.title for method in ATTACKS.values()],
    "controls.py": [allowed.name for allowed in vars(controls).values() if isinstance(allowed, controls.Range)],
    "defences.py": [
        text for family in (*FAMILIES.values(), *OF_OTHERS.values()) for text in (family.title, family.short)
    ],
    "lessons.py": [
        text for lesson in LESSONS
        for text in (
            lesson.title, lesson.intro, lesson.prediction, *lesson.choices, *lesson.look, lesson.question, lesson.answer
        )
    ],
    "presets.py": [text for preset in PRESETS for text in (preset.title, preset.kind)],
    "runs.py": list(DENOISERS.values()),
    "taxonomy.py": [diagnosis.name for diagnosis in DIAGNOSES.values()],
}  # fmt: skip


def modules() -> list[Path]:
    return sorted((ROOT / "purifier").rglob("*.py"))


def templates() -> list[Path]:
    return sorted((ROOT / "purifier" / "templates").glob("*.html"))


def handed_over(path: Path, translators: dict[str, int]) -> list[ast.expr]:
    """What a module hands to ``say``, ``label`` and their like."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and (name := getattr(node.func, "id", "")) in translators:
            found += node.args[translators[name] :][:1]
    return found


def texts_in(path: Path, translators: dict[str, int] = TRANSLATORS) -> set[str]:
    """The literals that a module hands over, and its own constants."""
    found, module = set(), ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for text in handed_over(path, translators):
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            found.add(text.value)
        elif isinstance(text, ast.Name) and text.id.isupper():
            found.add(getattr(importlib.import_module(module), text.id))
    return found


def handed_over_by(template: Path) -> list[nodes.Expr]:
    """What a template hands to ``say`` and its like."""
    calls = Environment().parse(template.read_text(encoding="utf-8")).find_all(nodes.Call)
    return [call.args[TRANSLATORS[call.node.name]] for call in calls if getattr(call.node, "name", "") in TRANSLATORS]


def texts_of(template: Path) -> set[str]:
    """The literals that a template hands over."""
    return {text.value for text in handed_over_by(template) if isinstance(text, nodes.Const)}


def all_texts() -> dict[str, str]:
    """Every text that the page can say, with the module or template that says it."""
    said = {text: path.name for path in modules() for text in texts_in(path)}
    said |= {text: path.name for path in templates() for text in texts_of(path)}
    listed = {text: module for module, found in TABLES.items() for text in found if text not in PROPER}
    return {**listed, **said}
