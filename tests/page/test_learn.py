import re

import gradio as gr
import pytest

from purifier.lessons import LESSONS
from purifier.templates import macros
from purifier.ui import handouts
from purifier.ui.course import Course
from purifier.ui.handouts import Taught, handout
from purifier.ui.session import Session
from purifier.ui.tabs.learn import begin, count_hands, make_handouts, predict, run_lesson, switch
from purifier.wording.language import say, speaking
from purifier.wording.readings import headline


def test_the_first_prediction_counts_and_is_scored_once_it_is_known():
    course = Course().predict(2, 0).predict(2, 1).predict(4, 2)
    assert course.predicted == {2: 0, 4: 2} and course.marks(5) == [None] * 5
    course = course.reveal(2, 0).reveal(4, 1)
    assert course.marks(5) == [None, None, True, None, False]
    assert "Score: 1 of 2" in macros("learn.html").score(course.marks(5))
    assert "Score: nothing predicted yet" in macros("learn.html").score(Course().marks(5))


def test_the_tab_opens_at_its_lesson_and_draws_it_once_in_a_language():
    update = begin(2, Course(), {}, None)
    assert say(LESSONS[2].title) in update.intro and update.status == gr.skip()
    assert update.pictures.count("<img") == 1 and update.look == update.why == ""
    assert begin(2, Course(), {}, update.shown).intro == switch(2, Course(), {}, update.shown).intro == gr.skip()
    with speaking("de"):
        assert say(LESSONS[2].title) in begin(2, Course(), {}, update.shown).intro


def test_nothing_is_revealed_before_the_run_and_the_choice_stays():
    course = predict(1, 0, Course()).course
    update = predict(2, 0, course)
    assert update.course.predicted == {0: 1} and update.look == ""
    buttons = [update.choice_0, update.choice_1, update.choice_2]
    assert [button.variant for button in buttons] == ["secondary", "primary", "secondary"]
    assert not any(button.interactive for button in buttons)
    assert all(getattr(switch(1, course, {}, None), f"choice_{k}").interactive for k in range(3))


@pytest.fixture(scope="module")
def first():
    """The first lesson, with its second choice made."""
    *_, update = run_lesson(0, predict(1, 0, Course()).course, Session())
    return update


def test_a_run_reveals_what_came_true_beside_the_pictures(first):
    lesson = LESSONS[0]
    assert first.course.happened == {0: 2} and "Score: 0 of 1" in first.score
    assert "otherwise" in first.look and f"C: {lesson.choices[2]}" in first.look
    assert all(say(text).split("'")[0] in first.look for text in lesson.look)
    assert [first.choice_1.value[0], first.choice_2.value[0]] == ["\u2717", "\u2713"]
    assert lesson.answer.split("'")[0] in first.why and "Szegedy" in first.why


def test_noise_of_the_same_size_is_read_and_shown(first):
    cards = re.findall(
        '<figure class="lp-card" aria-label="([^"]+)".*?lp-headline">([^<]+)<', first.pictures, re.DOTALL
    )
    readings = handouts.taught(0).readings
    assert [(title, text.replace("\N{NO-BREAK SPACE}", " ")) for title, text in cards] == [
        ("Original", headline(readings["original"])),
        ("Attacked", headline(readings["attacked"])),
        ("Random noise", headline(readings["noise"])),
    ]


def test_coming_back_shows_what_was_predicted_and_true(first):
    update = switch(0, first.course, {"0": (1, 4, 0)}, None)
    assert update.look == first.look and update.why == first.why and update.again.interactive
    assert (update.hands_0, update.hands_1, update.hands_2) == (1, 4, 0)
    assert switch(1, first.course, {"0": (1, 4, 0)}, None).hands_1 == 0


def test_a_class_is_counted_beside_what_came_true():
    counts, before, *fields = count_hands(3, Course(), {"1": (1, 1, 1)}, 5, None, -2)
    assert counts == {"1": (1, 1, 1), "3": (5, 0, 0)} and fields == [gr.skip(), gr.skip(), 0]
    assert "Predictions of the class: 5" in before and "came true" not in before
    _, after, *_ = count_hands(3, Course().reveal(3, 1), counts, 3, 1, 0)
    rows = after.split("<tr")[1:]
    assert ["came true" in row for row in rows] == [False, True, False]
    assert [re.search(r"width:([\d.]+)%", row)[1] for row in rows] == ["75.0", "25.0", "0.0"]


@pytest.fixture
def all_taught(monkeypatch):
    """Every lesson as if it had come out like the first."""
    one = handouts.taught(0)
    monkeypatch.setattr(handouts, "taught", lambda i: Taught(LESSONS[i], one.pictures, one.readings, i % 3))


def test_students_get_pictures_and_no_answer(all_taught):
    page = handout(with_answers=False)
    assert page.count("<img") == 3 * len(LESSONS) and "\u2611" not in page
    assert "Melanocytic nevus, " not in page and not any(lesson.answer[:40] in page for lesson in LESSONS)
    assert not re.search("https?:", page) and "src=" in page  # a picture's own letters hold no colon


def test_teachers_get_answers_readings_and_what_came_true(all_taught):
    page = handout(with_answers=True)
    ticked = re.findall("<li>\u2611 ([ABC])", page)
    assert ticked == [letter for letter, _ in zip("ABCABCA", LESSONS, strict=True)]
    assert all(lesson.answer.split("'")[0] in page for lesson in LESSONS) and "Melanocytic nevus, " in page
    assert "How to run the class" in page
    with speaking("de"):
        assert '<html lang="de">' in handout(with_answers=True)


def test_the_handouts_are_links_at_the_end(all_taught):
    *running, (said, links) = make_handouts()
    assert len(running) == len(LESSONS) and not any(links for _, links in running)
    assert links.count("download=") == 2 and "are ready" in said
