"""The lessons on paper. What they show is computed once, when somebody first asks for it."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from purifier.lessons import LESSONS, Lesson, noise_like, teach
from purifier.readings import Reading, read
from purifier.templates import Markup, macros, render
from purifier.ui.examples import BUNDLED
from purifier.ui.results import titles
from purifier.ui.session import classifier_for_page
from purifier.wording.language import say


@dataclass(frozen=True, eq=False)
class Taught:
    """A lesson with what its run showed: pictures by name, their readings, and which choice came true."""

    lesson: Lesson
    pictures: dict[str, Tensor]
    readings: dict[str, Reading]
    happened: int


@functools.cache
def taught(i: int) -> Taught:
    """Lesson ``i``, run."""
    lesson = LESSONS[i]
    done, seen = teach(lesson, BUNDLED / lesson.example)
    pictures, readings = done.pictures(), seen[done.settings.classifier]
    if lesson.shows_noise:
        pictures = {**pictures, "noise": noise_like(done)}
        readings = {**readings, "noise": read(classifier_for_page(done.settings.classifier), pictures["noise"])[0]}
    return Taught(lesson, pictures, readings, lesson.outcome(done, seen))


def handout(with_answers: bool) -> str:
    """A page to print, for students; or for teachers, ``with_answers``."""
    lessons = [taught(i) for i in range(len(LESSONS))]
    named = titles() | {"noise": say("Random noise")}
    return str(render("handout.html", lessons=lessons, with_answers=with_answers, titles=named))


def handouts() -> Iterator[tuple[int, Markup]]:
    """How many lessons were run so far, and at the end links to both pages."""
    for i in range(len(LESSONS)):
        yield i, Markup("")
        taught(i)
    files = [
        (say("Handout for students"), "lessons.html", "text/html", handout(with_answers=False)),
        (say("Handout with answers, for teachers"), "lessons-answers.html", "text/html", handout(with_answers=True)),
    ]
    yield len(LESSONS), macros("links.html").links(files)
