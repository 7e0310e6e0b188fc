"""Progress as a person sees it: lines off a terminal, a bar on one, nothing when quiet."""

import io
import re
import threading

import pytest
from rich.console import Console

from drfarm.progress import Figures, TerminalReporter, ViewReporter, WorkerState, duration
from drfarm.progress._terminal import stage_panel, terminal_view


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


def test_the_figures_of_a_stage_are_what_was_told_of_it(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    figures = Figures("probe", 100, "results", study="tiny")
    assert (figures.snapshot().eta_s, figures.snapshot().rate, figures.snapshot().longest) == (None, 0.0, None)
    figures.started("b1", "10 probes", "tcp://a", 10)
    figures.started("b2", "20 probes", "tcp://b", 20)
    figures.started("b3", "30 probes", "tcp://c", 30)
    clock[0] = 110.0
    s = figures.snapshot()
    assert (s.n_running, s.n_waiting, s.batches_running, s.longest_s) == (60, 40, 3, 10.0)
    assert s.longest.title == "10 probes"
    assert figures.advance(10, "b1").worker == "tcp://a"
    assert figures.retried("b2").n == 20
    figures.failed("b3", 30)
    s = figures.snapshot()
    assert (s.n_done, s.n_failed, s.n_retried, s.n_running, s.n_waiting) == (10, 30, 20, 0, 60)
    assert (s.batches_retried, s.batches_failed) == (1, 1)
    assert (s.rate, s.eta_s) == (1.0, 60.0)
    figures.extend(40)
    assert figures.snapshot().n_waiting == 100
    figures.started("b4", "10 probes", "tcp://a", 10)
    figures.withdrawn("b4")
    assert figures.snapshot().n_running == 0
    figures.advance(110)
    s = figures.snapshot()
    assert (s.eta_s, s.n_waiting, s.n_done + s.n_failed) == (0.0, 0, s.total + 10)
    clock[0] = 120.0
    figures.end()
    clock[0] = 500.0
    assert figures.snapshot().elapsed_s == 20.0


def test_the_rate_is_that_of_the_last_minutes(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    figures = Figures("probe", 100_000, "results")
    for _ in range(600):  # ten minutes at 1/s, then ten at 10/s
        clock[0] += 1.0
        figures.advance(1)
    assert figures.snapshot().rate == pytest.approx(1.0)
    for _ in range(600):
        clock[0] += 1.0
        figures.advance(10)
    assert figures.snapshot().rate == pytest.approx(10.0)
    clock[0] += 3600.0  # one batch of an hour: nothing in the last minutes is no standstill for ever
    assert 0 < figures.snapshot().rate < 10.0


def test_figures_of_many_threads_lose_nothing():
    figures = Figures("probe", 8000, "results")

    def work(k):
        for i in range(1000):
            figures.started(f"{k}-{i}", "a probe", f"tcp://{k}", 1)
            figures.advance(1, f"{k}-{i}")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    s = figures.snapshot()
    assert (s.n_done, s.n_running, s.n_waiting) == (8000, 0, 0)


def test_off_a_terminal_what_goes_wrong_is_told_at_once_and_counted_in_the_next_line(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with TerminalReporter().stage("probe", 100, "results") as meter:
        meter.started("b1", "10 probes of [x]", "tcp://a", n=10)
        meter.retried("b1", "10 probes of [x]", "its worker died")
        meter.started("b1", "10 probes of [x]", "tcp://a", n=10)
        meter.failed("b1", "10 probes of [x]", "its worker died", attempts=3, n=10)
        meter.failed("b2", "bad probes", "bad data", attempts=1, n=5)
        clock[0] = 20.0
        meter.advance(40)
        clock[0] = 40.0
        meter.workers([])  # nothing was done since
        meter.advance(45)
    assert capsys.readouterr().err.splitlines() == [
        "trying again: 10 probes of [x]: its worker died",
        "failed after 3 attempts: 10 probes of [x]: its worker died",
        "failed: bad probes: bad data",
        "probe: 40 of 100 results, 2.0/s, about 22.5 s left; 1 tried again; 2 failed",
        "probe: 85 of 100 results, 2.1/s, about 0.0 s left; 1 tried again; 2 failed",
        "probe: 85 of 100 results in 40.0 s (2.1 results/s)",
    ]


def drawn(figures, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False)
    console.print(stage_panel(figures))
    return console.file.getvalue().splitlines()


def test_the_live_figures_fit_eighty_columns_and_name_what_runs_long(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    figures = Figures("probe", 12345, "results")
    assert drawn(figures)[0].split()[-4:] == ["0/12,345", "results", "0.0/s", "..."]
    assert len(drawn(figures)) == 1
    title = "110 sgd probes of mobilenetv2/penultimate on cifar10, random, seeds 0-4"
    figures.started("b1", title, "tcp://127.0.0.1:41233", 110)
    figures.started("b2", "x", "tcp://127.0.0.1:41234", 110)
    clock[0] = 300.0
    figures.advance(1234)
    figures.retried("b2")
    figures.failed("b3", 110)
    gib = 2**30
    figures.set_workers(
        [
            WorkerState(address="a", memory_bytes=3 * gib, memory_limit_bytes=4 * gib),
            WorkerState(address="b", memory_bytes=int(3.6 * gib), memory_limit_bytes=4 * gib),
        ]
    )
    lines = drawn(figures)
    assert all(len(line) <= 80 for line in lines)
    assert re.fullmatch(r"probe ━[━╸╺ ]+ 1,234/12,345 results +4\.1/s 44 min 34 s left", lines[0])
    assert lines[1:3] == [
        "  1 batch running · 10,891 waiting · 1 tried again · 1 failed",
        "  2 workers · memory 6.6 GiB of 8.0 GiB · fullest 90%",
    ]
    assert lines[3].startswith("  5 min 0 s: 110 sgd probes of mobilenetv2/penultimate")


def test_at_a_terminal_the_figures_are_live_and_what_is_told_stays():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, highlight=False)
    view = terminal_view(console)
    reporter = ViewReporter([view])
    with reporter.stage("probe", 10, "results") as meter:
        meter.started("b1", "4 probes", "tcp://a", n=4)
        meter.retried("b1", "4 probes", "[its] worker died")
        meter.advance(10)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert "0/10 results" in text or "10/10 results" in text
    assert "trying again: 4 probes: [its] worker died" in text
    assert text.rstrip().splitlines()[-1].strip().startswith("probe: 10 of 10 results in ")


def test_a_stage_that_breaks_off_leaves_the_terminal_as_it_was():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, highlight=False)

    def break_off():
        with ViewReporter([terminal_view(console)]).stage("probe", 10, "results"):
            raise KeyboardInterrupt("Ctrl-C")

    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        break_off()
    shown = console.file.getvalue()
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is hidden, and shown again


def test_views_are_told_what_happens_with_the_worker_that_had_the_batch():
    told = []

    class Recorder:
        def opened(self, figures):
            told.append(("opened", figures.stage))

        def changed(self, figures):
            pass

        def happened(self, event):
            told.append((event.event, event.study, event.stage, event.batch, event.worker, event.level))

        def closed(self, figures, *, whole):
            told.append(("closed", whole))

    reporter = ViewReporter([Recorder()], study="tiny")
    with reporter.stage("probe", 10, "results") as meter:
        meter.started("b1", "probes", "tcp://a", n=5)
        meter.advance(5, batch="b1")
        meter.started("b2", "probes", "tcp://b", n=5)
        meter.retried("b2", "probes", "died")
        meter.started("b2", "probes", "tcp://c", n=5)
        meter.failed("b2", "probes", "died", attempts=2, n=5)
    reporter.message("all s3://key:hush@bucket")
    assert told == [
        ("opened", "probe"),
        ("stage.started", "tiny", "probe", None, None, "info"),
        ("batch.started", "tiny", "probe", "b1", "tcp://a", "info"),
        ("batch.done", "tiny", "probe", "b1", "tcp://a", "info"),
        ("batch.started", "tiny", "probe", "b2", "tcp://b", "info"),
        ("batch.retried", "tiny", "probe", "b2", "tcp://b", "warning"),
        ("batch.started", "tiny", "probe", "b2", "tcp://c", "info"),
        ("batch.failed", "tiny", "probe", "b2", "tcp://c", "error"),
        ("closed", True),
        ("stage.ended", "tiny", "probe", None, None, "info"),
        ("message", "tiny", None, None, None, "info"),
    ]
