"""The tab 'Lessons': guided lessons that set the controls of 'Try', run, and say what to look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import gradio as gr
from gradio.components import Component

from purifier.lessons import LESSONS, Lesson, is_fooled, seen_by
from purifier.templates import Markup, macros
from purifier.ui.actions import attack, choose, purify
from purifier.ui.components import PRIVATE, STATIC, label
from purifier.ui.controls import classifier_choices, control_values, purifier_values
from purifier.ui.events import errors_as_messages, restart_on, stop_on, update_on
from purifier.ui.examples import BUNDLED
from purifier.ui.results import row
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.status import status
from purifier.ui.updates import Update, stays
from purifier.ui.view import CARDS
from purifier.wording.language import say

INTRO = (
    "<p>Short lessons. Each sets the controls of <b>Try</b>, runs, and says what to look at; there you can go on by "
    "yourself. The pictures are drawn by a generative model, of no patient.</p>"
)


@dataclass(frozen=True, kw_only=True)
class LessonUpdate(Update):
    """And what the tab 'Lessons' shows of its own."""

    intro: str = stays()
    lesson_results: str = stays()
    end: str = stays()  # what to look at, and the question
    lesson_status: str = stays()


def add_lessons(outputs: Mapping[str, Component], tab: gr.Tab) -> None:
    """``outputs`` are those of 'Try', by the names of ``Update``'s fields."""
    gr.HTML(label(INTRO))
    which = gr.Radio(
        [(str(label(lesson.title)), i) for i, lesson in enumerate(LESSONS)],
        value=0,
        label=label("Lesson"),
        elem_classes="lp-lessons",
    )
    before = gr.HTML(lesson_intro(0))
    with gr.Row(elem_classes="lp-run"):
        start = gr.Button(label("Run this lesson"), variant="primary", min_width=160)
        stop = gr.Button(label("Stop"), min_width=70)
    said, result, after = gr.HTML(status("")), gr.HTML(js_on_load=CARDS), gr.HTML()
    with gr.Accordion(label("For teachers: how to run the class"), open=False):
        teacher = gr.HTML(teacher_page(), js_on_load=(STATIC / "print.js").read_text(encoding="utf-8"))
    of_run = dict(outputs, lesson_results=result, end=after, lesson_status=said)
    running = update_on(start.click, run_lesson, [which, outputs["session"]], of_run, **PRIVATE)
    lines = dict(lesson_status=said, status=outputs["status"])
    stop_on(stop.click, [running], list(lines.values()))
    restart_on(which.input, [running], switch, [which], dict(intro=before, lesson_results=result, end=after, **lines))
    tab.select(
        errors_as_messages(lambda i: (lesson_intro(i), teacher_page())),
        which,
        [before, teacher],
        api_visibility="private",
        show_progress="hidden",
    )


def switch(i: int) -> LessonUpdate:
    """Another lesson is begun; nothing is left of the last one."""
    nothing = status("")
    return LessonUpdate(intro=lesson_intro(i), lesson_results="", end="", lesson_status=nothing, status=nothing)


def lesson_intro(i: int) -> Markup:
    """What stands above a lesson before it is run."""
    return macros("lessons.html").intro(LESSONS[i], i + 1, len(LESSONS))


def run_lesson(i: int, session: Session) -> Iterator[LessonUpdate]:
    """What the buttons of 'Try' would do with the lesson's settings, there and here."""
    lesson = LESSONS[i]
    settings = lesson.settings
    classifier = classifier_for_page(settings.classifier)
    values = control_values(settings, classifier.labels)
    session = replace(session, classifier=settings.classifier)
    chosen = choose(str(BUNDLED / lesson.example), session, is_own=False)
    yield replace(_here(chosen), end="", **values)
    session, how = chosen.session, settings.attack
    if how is not None:
        target, epsilon, knows = how.target, round(255 * how.settings.eps), how.known is not None
        purifier = purifier_values(how.known).values() if knows else ()
        steps = attack(session, how.settings.method, epsilon, how.settings.steps, target, how.seed, knows, *purifier)
        for update in steps:
            session = update.session
            yield _here(update)
    if settings.purifier is not None:
        values = purifier_values(settings.purifier)
        for update in purify(session, **values, seed=settings.seed, draws=settings.draws):
            session = update.session
            yield _here(update)
    yield LessonUpdate(end=lesson_end(lesson, session), lesson_status=status(say("The lesson is done.")))


def _here(update: Update) -> LessonUpdate:
    """What changes in 'Try', there and here."""
    results = gr.skip() if update.original_card == gr.skip() else row(update)
    return LessonUpdate(**vars(update), lesson_results=results, lesson_status=update.status)


def lesson_end(lesson: Lesson, session: Session) -> Markup:
    """What further classifiers read in the same pictures, what to look at, and the question."""
    titles, others = {name: title for title, name in classifier_choices()}, []
    if lesson.readers:
        found = seen_by(session.run, lesson.readers)
        others = [(titles[name], seen, is_fooled(seen)) for name, seen in found.items()]
    return macros("lessons.html").end(lesson, others)


def teacher_page() -> Markup:
    """How to run the class, lesson by lesson, with the questions, their answers and the sources."""
    return macros("lessons.html").teacher(LESSONS)
