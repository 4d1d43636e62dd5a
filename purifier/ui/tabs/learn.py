"""The tab 'Learn': lessons that let predict, then set the controls of 'Try', run and reveal, and then say why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import gradio as gr

from purifier.lessons import LESSONS, Lesson, is_fooled, noise_like, seen_by
from purifier.pictures.files import quantise, read_image
from purifier.readings import Reading, is_right, read
from purifier.templates import Markup, macros
from purifier.ui.actions import attack, choose, purify
from purifier.ui.components import PRIVATE, QUIET, as_given, label, script
from purifier.ui.controls import classifier_choices, control_values, purifier_values
from purifier.ui.course import Course
from purifier.ui.events import errors_as_messages, pause, stop_on, update_on
from purifier.ui.examples import BUNDLED, truth_of
from purifier.ui.handouts import handouts
from purifier.ui.parts import TryIt
from purifier.ui.results import drawn, titles
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.status import status
from purifier.ui.updates import Update, stays
from purifier.ui.view import CARDS
from purifier.wording.language import say, spoken
from purifier.wording.readings import change

LETTERS = "ABC"  # of the choices
LAST = len(LESSONS) - 1
Counts = Mapping[str, Sequence[int]]  # by the number of the lesson, from 0: how many of a class made each choice
SWITCH = "on => document.body.toggleAttribute('data-%s', on)"
GO = f"i => Math.min(Math.max(i + %d, 0), {LAST})"
INTRO = (
    "<p>Predict, see, and ask why. A lesson takes the place of the picture in <b>Try</b>; its pictures are drawn by a "
    "model, of no patient.</p>"
)


@dataclass(frozen=True, kw_only=True)
class LearnUpdate(Update):
    """And what the tab 'Learn' shows of its own."""

    course: Course = stays()
    counts: Counts = stays()
    counting: bool = stays()
    shown: tuple[int, str] = stays()  # the lesson and its language
    intro: str = stays()
    prediction: str = stays()
    choice_0: gr.Button = stays()
    choice_1: gr.Button = stays()
    choice_2: gr.Button = stays()
    hands_0: int = stays()
    hands_1: int = stays()
    hands_2: int = stays()
    tally: str = stays()
    pictures: str = stays()
    look: str = stays()  # beside the pictures
    why: str = stays()
    score: str = stays()
    back: gr.Button = stays()
    next: gr.Button = stays()
    again: gr.Button = stays()
    lesson_status: str = stays()


def add_learn(try_it: TryIt, tab: gr.Tab) -> None:
    """Lay out the tab and wire it. What still runs in 'Try' ends when a lesson begins, and a lesson's run when another
    picture is chosen there."""
    outputs = try_it.outputs
    course, shown = gr.State(Course()), gr.State(None)
    # In the browser, so that a reload in the middle of a class keeps them.
    counts = gr.BrowserState({}, storage_key="lesion-purifier-class", secret="no secret")
    with gr.Column(elem_classes="lp-learn"):
        gr.HTML(label(INTRO))
        with gr.Row(elem_classes="lp-lessons"):
            with gr.Row(elem_classes="lp-steps"):
                back = gr.Button(label("Back"), size="sm", min_width=70)
                # One set of components for all lessons, and so no gr.Walkthrough, whose steps have each their own.
                which = gr.Dropdown(
                    [(f"{i + 1}. {label(lesson.title)}", i) for i, lesson in enumerate(LESSONS)],
                    value=0,
                    label=label("Lesson"),
                    show_label=False,
                    container=False,
                    filterable=False,
                )
                forward = gr.Button(label("Next"), size="sm", min_width=70)
            score = gr.HTML(_score(Course()))
        intro = gr.HTML()
        with gr.Row(elem_classes="lp-reveal"):
            with gr.Column(scale=5, min_width=300):
                pictures = gr.HTML(js_on_load=CARDS)
            with gr.Column(scale=3, min_width=300):
                prediction = gr.HTML()
                choices, hands, raised = zip(*[_choice(letter) for letter in LETTERS], strict=True)
                tally = gr.HTML(elem_classes="lp-class")
                said = gr.HTML(status(""))
                look = gr.HTML()
                with gr.Row():
                    again = gr.Button(label("Run it again"), size="sm", interactive=False, min_width=70)
                    stop = gr.Button(label("Stop"), size="sm", min_width=70)
        why = gr.HTML()
        with gr.Accordion(label("For teachers: the class, the projector, handouts"), open=False):
            with gr.Row():
                counting = gr.Checkbox(label=label("Count the predictions of a class"))
                projector = gr.Checkbox(label=label("Projector view"))
            teacher = gr.HTML()
            with gr.Row():
                anew = gr.Button(label("Begin a new class"), size="sm")
                print_it = gr.Button(label("Make the handouts"), size="sm")
            printing, links = gr.HTML(status("")), gr.HTML()
    own = dict(
        course=course, shown=shown, counting=counting, intro=intro, prediction=prediction, tally=tally,
        pictures=pictures, look=look, why=why, score=score, back=back, next=forward, again=again, lesson_status=said,
    )  # fmt: skip
    own |= {f"choice_{k}": button for k, button in enumerate(choices)}
    own |= {f"hands_{k}": number for k, number in enumerate(hands)}
    given, everything, running = [which, course, outputs["session"]], dict(outputs, **own), []
    for k, button in enumerate((*choices, again)):
        # The page's opening, say, would else draw its example over the lesson's.
        ended = button.click(pause, None, None, cancels=list(try_it.running), **QUIET)
        if button is not again:
            ended = update_on(ended.then, partial(predict, k), [which, course], own, **QUIET)
        running.append(update_on(ended.then, run_lesson, given, everything, **PRIVATE))
    for done in running:  # what came true stands beside what the class said
        done.then(errors_as_messages(count_hands), [which, course, counts, *hands], [counts, tally, *hands], **QUIET)
    stop_on(stop.click, running, [said, outputs["status"]])
    for event in try_it.anew:
        event(None, None, None, cancels=running, **QUIET)
    # Out of the queue, whose stream may be that of the page's opening and be closed meanwhile.
    ended = which.change(pause, None, None, cancels=running, **QUIET)
    known, drawn_anew = [which, course, counts, shown], dict(own, status=outputs["status"])
    update_on(ended.then, switch, known, drawn_anew, trigger_mode="always_last", **QUIET)
    which.change(None, which, None, js=script("lesson.js"), **QUIET)
    for button, step in ((back, -1), (forward, 1)):
        button.click(None, which, which, js=GO % step, **QUIET)
    for number, button in zip(hands, raised, strict=True):
        plus = button.click(None, number, number, js="n => (n ?? 0) + 1", **QUIET)
        for event in (plus.then, number.input):
            event(errors_as_messages(count_hands), [which, course, counts, *hands], [counts, tally, *hands], **QUIET)
    for box, name in ((counting, "class"), (projector, "projector")):
        box.change(None, box, None, js=SWITCH % name, **QUIET)
    ended = anew.click(pause, None, None, cancels=running, **QUIET)
    update_on(ended.then, new_class, which, dict(drawn_anew, counts=counts), **QUIET)
    print_it.click(errors_as_messages(make_handouts), None, [printing, links], **PRIVATE)
    # The lesson is chosen before it is drawn: a choice that changed later would end a run begun meanwhile.
    opened = tab.select(None, which, which, js=script("open_lesson.js") % LAST, **QUIET)
    update_on(opened.then, begin, known, own, **QUIET)
    came_back = gr.Button("", elem_classes="lp-came-back")  # never seen; load.js presses it
    came_back.click(None, None, which, js=f"() => ({script('open_lesson.js') % LAST})(0)", **QUIET)
    tab.select(errors_as_messages(teacher_page), None, teacher, **QUIET)


def _choice(letter: str) -> tuple[gr.Button, gr.Number, gr.Button]:
    """A choice, how many of the class make it, and one more."""
    with gr.Row(elem_classes="lp-choice"):
        choice = gr.Button(letter, min_width=200, scale=6)
        number = gr.Number(
            0, precision=0, minimum=0, label=f"{label('Hands for')} {letter}", show_label=False, container=False,
            min_width=60, elem_classes="lp-class",
        )  # fmt: skip
        hands = as_given(number)
        plus = gr.Button(f"+ {letter}", min_width=50, elem_classes="lp-class")
    return choice, hands, plus


def begin(i: int, course: Course, counts: Counts, shown: tuple[int, str] | None) -> LearnUpdate:
    """The tab is opened at lesson ``i``, counting where a class is being counted; what 'Try' says stays."""
    counting = {"counting": True} if any(map(any, counts.values())) else {}
    return replace(switch(i, course, counts, shown), status=gr.skip(), **counting)


def switch(i: int, course: Course, counts: Counts, shown: tuple[int, str] | None) -> LearnUpdate:
    """Lesson ``i`` before its run, or with what was predicted and came true when it was run; nothing where it is what
    is ``shown`` already."""
    if shown == (i, spoken()):
        return LearnUpdate()
    lesson, parts = LESSONS[i], macros("learn.html")
    happened, hands = course.happened.get(i), counts.get(str(i), (0, 0, 0))
    path, name = BUNDLED / lesson.example, lesson.settings.classifier
    session = Session(original=quantise(read_image(path)), truth=truth_of(path), classifier=name)
    hint = say("Predict first.") if i not in course.predicted else say("Press Run it again.")
    return LearnUpdate(
        shown=(i, spoken()),
        intro=parts.intro(lesson, i + 1, len(LESSONS)),
        prediction=parts.prediction(lesson),
        pictures=_pictures(lesson, drawn(session, classifier_for_page(name)), hint),
        why="" if happened is None else parts.why(lesson),
        back=gr.Button(interactive=i > 0),
        next=gr.Button(interactive=i < LAST),
        lesson_status=status(""),
        status=status(""),
        **{f"hands_{k}": count for k, count in enumerate(hands)},
        **_predicted(i, course),
        tally=parts.tally(hands, happened),
    )


def predict(k: int, i: int, course: Course) -> LearnUpdate:
    """The visitor chose ``k`` in lesson ``i``; the run follows."""
    course = course.predict(i, k)
    return LearnUpdate(course=course, lesson_status=status(say("Waiting for its turn.")), **_predicted(i, course))


def _predicted(i: int, course: Course) -> dict[str, object]:
    """How the choices of lesson ``i`` stand, what to look at once it was run, and the score."""
    predicted, happened, parts = course.predicted.get(i), course.happened.get(i), macros("learn.html")
    signs = {} if happened is None else {predicted: "\u2717 ", happened: "\u2713 "}
    choices = {
        f"choice_{k}": gr.Button(
            f"{signs.get(k, '')}{LETTERS[k]}. {say(text)}",
            variant="primary" if k == predicted else "secondary",
            interactive=predicted is None,
        )
        for k, text in enumerate(LESSONS[i].choices)
    }
    look = "" if happened is None else parts.look(LESSONS[i], predicted, happened)
    return dict(choices, look=look, score=_score(course), again=gr.Button(interactive=predicted is not None))


def _score(course: Course) -> Markup:
    return macros("learn.html").score(course.marks(len(LESSONS)))


def run_lesson(i: int, course: Course, session: Session) -> Iterator[LearnUpdate]:
    """What the buttons of 'Try' would do with the lesson's settings, there and here; and then what came true."""
    lesson = LESSONS[i]
    settings = lesson.settings
    classifier = classifier_for_page(settings.classifier)
    values = control_values(settings, classifier.labels)
    session = replace(session, classifier=settings.classifier)
    chosen = choose(str(BUNDLED / lesson.example), session, is_own=False)
    yield replace(_here(lesson, chosen), lesson_status=status(""), **values)
    session, how = chosen.session, settings.attack
    if how is not None:
        target, epsilon, knows = how.target, round(255 * how.settings.eps), how.known is not None
        purifier = purifier_values(how.known).values() if knows else ()
        steps = attack(session, how.settings.method, epsilon, how.settings.steps, target, how.seed, knows, *purifier)
        for update in steps:
            session = update.session
            yield _here(lesson, update)
    if settings.purifier is not None:
        values = purifier_values(settings.purifier)
        for update in purify(session, **values, seed=settings.seed, draws=settings.draws):
            session = update.session
            yield _here(lesson, update)
    yield reveal(i, course, session)


def reveal(i: int, course: Course, session: Session) -> LearnUpdate:
    """What lesson ``i``'s run, which is in ``session``, made of the prediction."""
    lesson, done, parts = LESSONS[i], session.run, macros("learn.html")
    classifier = classifier_for_page(session.classifier)
    seen = seen_by(done, lesson.readers)
    course = course.reveal(i, lesson.outcome(done, seen))
    pictures = _pictures(lesson, drawn(session, classifier), noise=_noise(session) if lesson.shows_noise else "")
    return LearnUpdate(
        course=course,
        pictures=pictures + _readers(lesson, seen),
        why=parts.why(lesson),
        lesson_status=status(say("The lesson is done.")),
        **_predicted(i, course),
    )


def _here(lesson: Lesson, update: Update) -> LearnUpdate:
    """What changes in 'Try', there and here."""
    pictures = gr.skip() if update.original_card == gr.skip() else _pictures(lesson, update)
    return LearnUpdate(**vars(update), pictures=pictures, lesson_status=update.status)


def _pictures(lesson: Lesson, update: Update, hint: str = "", noise: str = "") -> Markup:
    """The verdict and the cards that the lesson is about; ``hint`` stands for pictures still to come."""
    cards, hint = [update.original_card], hint or say("Still to come.")
    if lesson.settings.attack is not None:
        is_there = update.session.attacked is not None
        cards.append(update.attacked_card if is_there else _card("attacked", titles()["attacked"], hint=hint))
    if lesson.shows_noise:
        cards.append(noise or _card("noise", say("Random noise"), hint=hint))
    if lesson.settings.purifier is not None:
        is_there = update.session.purified is not None
        cards.append(update.purified_card if is_there else _card("purified", titles()["purified"], hint=hint))
    return Markup('{}<div class="lp-cards">{}</div>').format(update.verdict, Markup("").join(cards))


def _card(name: str, title: str, **values: object) -> Markup:
    """A card of its own; empty unless ``values``, the macro's, say what it shows."""
    empty = dict(x=None, reading=None, hint="", against=None, right=None, views=[], note="", classifier="")
    return macros("results.html").card(name, title, **(empty | values))


def _noise(session: Session) -> Markup:
    """Random noise of the attack's size on the original, read."""
    x, classifier = noise_like(session.run), classifier_for_page(session.classifier)
    original, reading = read(classifier, session.original, x)
    return _card(
        "noise",
        say("Random noise"),
        x=x,
        reading=reading,
        against=original,
        right=is_right(reading, session.truth),
        note=change(session.original, x),
        classifier=session.classifier,
    )


def _readers(lesson: Lesson, seen: dict[str, dict[str, Reading]]) -> Markup:
    """What further classifiers read in the same pictures."""
    if not lesson.readers:
        return Markup("")
    titled = {name: title for title, name in classifier_choices()}
    return macros("learn.html").readers([(titled[name], found, is_fooled(found)) for name, found in seen.items()])


def count_hands(i: int, course: Course, counts: Counts, *typed: float | None) -> list[object]:
    """How many of the class made each choice of lesson ``i``, kept; drawn beside what came true; and in their fields,
    where less than nobody was typed."""
    hands = tuple(max(0, int(count or 0)) for count in typed)
    fields = [0 if (count or 0) < 0 else gr.skip() for count in typed]
    return [{**counts, str(i): hands}, macros("learn.html").tally(hands, course.happened.get(i)), *fields]


def new_class(i: int) -> LearnUpdate:
    """Lesson ``i`` as for the first time: nothing is counted, predicted or run."""
    return replace(switch(i, Course(), {}, None), course=Course(), counts={}, status=gr.skip())


def make_handouts() -> Iterator[tuple[Markup, Markup]]:
    """The status while the lessons run, and at the end the links."""
    for done, links in handouts():
        text = say("Lesson {n} of {count} is run for the handouts.", n=done + 1, count=len(LESSONS))
        yield status(say("The handouts are ready: open them and print.") if links else text), links


def teacher_page() -> Markup:
    """How to run the class."""
    return Markup('<div class="lp-lesson">{}</div>').format(macros("learn.html").teacher(LESSONS))
