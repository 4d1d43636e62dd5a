"""The tab 'Lessons': six guided lessons that set the controls of 'Try it', run, and say what to look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape

import gradio as gr
from gradio.components import Component

from purifier.lessons import LESSONS, Lesson, is_fooled, seen_by
from purifier.ui.actions import attack, choose, purify
from purifier.ui.components import PRIVATE, label
from purifier.ui.controls import classifier_choices, control_values, purifier_values
from purifier.ui.events import errors_as_messages, restart_on, stop_on, update_on
from purifier.ui.examples import BUNDLED
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.status import status
from purifier.ui.updates import Update, stays
from purifier.ui.view import ZOOM
from purifier.wording.language import say
from purifier.wording.readings import headline

INTRO = (
    "<p>Six short lessons. Each sets the controls of <b>Try it</b>, runs, and says what to look at; there you can go "
    "on "
    "by yourself. The pictures are drawn by a generative model, of no patient.</p>"
)
# Puts the teacher's page into a window of its own, and prints it.
PRINT = """
element.addEventListener('click', event => {
  if (!event.target.closest('.lp-print')) return;
  const page = window.open('', '_blank');
  page.document.title = document.title;
  page.document.head.insertAdjacentHTML('beforeend', '<style>body { font: 11pt/1.45 serif; max-width: 45em; '
    + 'margin: 2em auto; padding: 0 1em } section { break-inside: avoid } .lp-print { display: none }</style>');
  page.document.body.innerHTML = element.querySelector('.lp-teacher').outerHTML;
  page.print();
});
"""


@dataclass(frozen=True, kw_only=True)
class LessonUpdate(Update):
    """And what the tab 'Lessons' shows of its own."""

    intro: str = stays()
    lesson_results: str = stays()
    end: str = stays()  # what to look at, and the question
    lesson_status: str = stays()


def add_lessons(outputs: Mapping[str, Component], tab: gr.Tab) -> None:
    """``outputs`` are those of 'Try it', by the names of ``Update``'s fields."""
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
    said, result, after = gr.HTML(status("")), gr.HTML(js_on_load=ZOOM), gr.HTML()
    with gr.Accordion(label("For teachers: how to run the class"), open=False):
        teacher = gr.HTML(teacher_page(), js_on_load=PRINT)
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


def lesson_intro(i: int) -> str:
    lesson = LESSONS[i]
    minutes = say("Lesson {n} of {count}, about {minutes} minutes", n=i + 1, count=len(LESSONS), minutes=lesson.minutes)
    return (
        f'<section class="lp-lesson"><h2>{escape(say(lesson.title))}</h2><p class="lp-note">{escape(minutes)}</p>'
        f"<p>{escape(say(lesson.intro))}</p></section>"
    )


def run_lesson(i: int, session: Session) -> Iterator[LessonUpdate]:
    """What the buttons of 'Try it' would do with the lesson's settings, there and here."""
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
        for update in purify(session, **purifier_values(settings.purifier), seed=settings.seed):
            session = update.session
            yield _here(update)
    yield LessonUpdate(end=lesson_end(lesson, session), lesson_status=status(say("The lesson is done.")))


def _here(update: Update) -> LessonUpdate:
    """What changes in 'Try it', there and here."""
    return LessonUpdate(**vars(update), lesson_results=update.results, lesson_status=update.status)


def lesson_end(lesson: Lesson, session: Session) -> str:
    """What to look at, and the question."""
    return (
        f'<section class="lp-lesson">{_others(lesson, session)}<h3>{escape(say("What to look at"))}</h3>'
        f"{_list(map(say, lesson.look))}{question(lesson)}</section>"
    )


def question(lesson: Lesson) -> str:
    return (
        f"<h3>{escape(say('A question'))}</h3><p>{escape(say(lesson.question))}</p>"
        f"<details><summary>{escape(say('An answer'))}</summary><p>{escape(say(lesson.answer))}</p></details>"
        f"<h4>{escape(say('To read'))}</h4>{_list(lesson.sources)}"
    )


def _others(lesson: Lesson, session: Session) -> str:
    """What further classifiers read in the same pictures."""
    if not lesson.readers:
        return ""
    titles = {name: title for title, name in classifier_choices()}
    rows = "".join(
        f'<tr><th scope="row">{escape(titles[name])}</th><td>{escape(headline(seen["original"]))}</td>'
        f"<td>{escape(headline(seen['attacked']))}</td>"
        f"<td>{escape(say('fooled') if is_fooled(seen) else say('not fooled'))}</td></tr>"
        for name, seen in seen_by(session.run, lesson.readers).items()
    )
    heads = (say("Classifier"), say("Original"), say("Attacked"), say("Outcome"))
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    return (
        f"<h3>{escape(say('The same two pictures, read by others'))}</h3>"
        f'<table class="lp-readers"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _list(items) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def teacher_page() -> str:
    """How to run the class, lesson by lesson, with the questions, their answers and the sources."""
    minutes = sum(lesson.minutes for lesson in LESSONS)
    intro = [
        say(
            "Six lessons of {minutes} minutes together fill a class of 45 minutes with its discussion. They need this "
            "page and nothing else: no account, no installation for the students, no patient's picture.",
            minutes=minutes,
        ),
        say(
            "Before: run all six once, since the first run of each classifier is slower. To teach with pictures of "
            "your "
            "own, start the page with PURIFIER_EXAMPLES set to their folder; the lessons go on using the bundled ones."
        ),
        say(
            "During: let the class guess each reading before you press the button, and write the guesses down. Ask the "
            "question before you open its answer. Let a student choose other settings in Try it and predict the result."
        ),
        say(
            "After: the class should be able to say what an adversarial picture is, why confidence does not reveal it, "
            "what purification does and costs, and why a defence must be tested by an attacker who knows it."
        ),
        say(
            "What students often take away wrongly: that such attacks were seen in clinics (no case is known to us), "
            "that "
            "a purified reading is a correct one, and that one picture shows how often something happens."
        ),
    ]
    lessons = "".join(
        f"<section><h3>{i}. {escape(say(lesson.title))} "
        f"<small>({escape(say('{minutes} minutes', minutes=lesson.minutes))})</small></h3>"
        f"<p>{escape(say(lesson.intro))}</p>{_list(map(say, lesson.look))}"
        f"<p><b>{escape(say('A question'))}:</b> {escape(say(lesson.question))}</p>"
        f"<p><b>{escape(say('An answer'))}:</b> {escape(say(lesson.answer))}</p>{_list(lesson.sources)}</section>"
        for i, lesson in enumerate(LESSONS, 1)
    )
    notice = say("Research and teaching; not a medical device.")
    return (
        f'<div class="lp-teacher"><button type="button" class="lp-print">{escape(say("Print this page"))}</button>'
        f"<h2>{escape(say('How to run the class'))}</h2>"
        f"{''.join(f'<p>{escape(text)}</p>' for text in intro)}{lessons}<p><strong>{escape(notice)}</strong></p></div>"
    )
