"""The end of a worker's log: of Python's traces only that of the task, and never too much of it."""

import faulthandler
import threading

from drfarm.farm._trace import LAST_LINES, MOST_CHARS, last_lines

CRASH = """about to crash
Fatal Python error: Segmentation fault

Current thread 0x00007fdccf5ff6c0 (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/lab/probe/_softmax.py", line 30 in loss
  File "/lab/probe/tasks.py", line 21 in run_task
  File "/venv/dask/_task_spec.py", line 768 in __call__
  File "/venv/distributed/worker.py", line 2821 in _run_task_simple
  File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap

Thread 0x00007fdd95333b80 (most recent call first):
  File "/usr/lib/python3.11/selectors.py", line 468 in select
  File "/venv/distributed/process.py", line 202 in _run

Extension modules: yaml._yaml, numpy._core._multiarray_umath (total: 2)
"""


def test_of_a_crash_the_thread_of_the_task_is_kept_down_to_the_task():
    assert last_lines(CRASH).splitlines() == [
        "about to crash",
        "Fatal Python error: Segmentation fault",
        "",
        "Current thread 0x00007fdccf5ff6c0 (most recent call first):",
        '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at',
        '  File "/lab/probe/_softmax.py", line 30 in loss',
        '  File "/lab/probe/tasks.py", line 21 in run_task',
    ]


def test_where_no_task_ran_every_thread_is_kept():
    text = CRASH.replace(" in _run_task_simple", " in elsewhere")
    assert "selectors.py" in last_lines(text)


def test_the_form_is_the_one_that_python_writes(tmp_path):
    inside, done = threading.Event(), threading.Event()

    def _run_task_simple():
        inside.set()
        done.wait(30)

    thread = threading.Thread(target=_run_task_simple)
    thread.start()
    inside.wait(30)
    with (tmp_path / "log").open("w") as file:
        faulthandler.dump_traceback(file=file)
    done.set()
    thread.join()
    text = (tmp_path / "log").read_text()
    assert "test_the_form" in text
    assert "_run_task_simple" not in last_lines("")
    assert "threading.py" in last_lines(text)
    assert "test_the_form" not in last_lines(text)  # that thread ran no task


def test_a_long_log_keeps_its_end_and_a_deep_stack_its_top():
    assert last_lines("\n".join(map(str, range(1000)))).splitlines() == [str(i) for i in range(950, 1000)]
    assert len(last_lines("x" * 10**6)) == MOST_CHARS
    deep = "".join(f'  File "a.py", line {i} in f\n' for i in range(200))
    kept = last_lines(
        f'Thread 0x1 (most recent call first):\n{deep}  File "b", line 1 in _run_task_simple\n  File "distributed/x"'
    )
    assert "line 0 in f" in kept
    assert len(kept.splitlines()) <= LAST_LINES
    assert last_lines("\n\n") == ""
