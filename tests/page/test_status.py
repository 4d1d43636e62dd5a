from purifier.ui.status import with_time_left


def test_the_time_that_is_left(monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 30.0)
    assert with_time_left("Draw 5 of 20", 20.0, 5, 20) == "Draw 5 of 20, 30 s left."
    assert with_time_left("Draw 20 of 20", 20.0, 20, 20) == "Draw 20 of 20, done."
