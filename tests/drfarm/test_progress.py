"""Progress as a person sees it: lines off a terminal, a bar on one, nothing when quiet."""

import pytest

from drfarm.progress import TerminalReporter, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (4.23, "4.2 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (190, "3 min 10 s"), (7500, "2 h 5 min")],
)
def test_times_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_off_a_terminal_a_stage_ends_with_a_line_that_has_its_rate(capsys):
    reporter = TerminalReporter()
    with reporter.stage("extract", 1500, "images") as meter:
        meter.advance(1000)
        meter.advance(500)
    reporter.message("note: [not markup]")
    out, err = capsys.readouterr()
    assert out == ""  # results go to stdout, progress never
    assert "extract: 1,500 of 1,500 images in 0." in err
    assert "images/s)" in err
    assert "note: [not markup]" in err


def test_a_long_stage_says_how_long_it_will_take(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    reporter = TerminalReporter()
    with reporter.stage("probe", 100, "results") as meter:
        clock[0] = 4.0
        meter.advance(10)
        clock[0] = 20.0
        meter.advance(10)
        clock[0] = 21.0
        meter.advance(1)
        clock[0] = 100.0
        meter.advance(79)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "probe: 20 of 100 results, 1.0/s, about 1 min 20 s left",
        "probe: 100 of 100 results in 1 min 40 s (1.0 results/s)",
    ]


def test_what_makes_no_result_is_no_news_and_a_stage_may_grow(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with TerminalReporter().stage("probe", 10, "results") as meter:
        clock[0] = 20.0
        meter.advance(0)  # statistics: nothing can be said of the time left
        clock[0] = 30.0
        meter.advance(10)
        meter.extend(5)
        clock[0] = 45.0
        meter.advance(2)
        clock[0] = 60.0
        meter.advance(3)
    assert capsys.readouterr().err.splitlines() == [
        "probe: 12 of 15 results, 0.3/s, about 11.2 s left",
        "probe: 15 of 15 results in 1 min 0 s (0.2 results/s)",
    ]


def test_a_stage_that_breaks_off_says_no_rate(capsys):
    def break_off():
        with TerminalReporter().stage("probe", 10, "results") as meter:
            meter.advance(1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        break_off()
    assert capsys.readouterr().err == ""


def test_quiet_says_nothing(capsys):
    reporter = TerminalReporter(quiet=True)
    with reporter.stage("probe", 10, "results") as meter:
        meter.advance(10)
    reporter.message("nobody hears this")
    assert capsys.readouterr() == ("", "")
