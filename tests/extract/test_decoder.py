"""Decoding in threads and processes: order, masks and cuts; and what is left of it when one of both sides dies."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import psutil
import pytest

from extract import DatasetSpec, DecoderDied, _decoder, _device, make_transform, open_samples
from extract._batches import Batch, Step
from extract._buffers import SharedBuffers
from extract._decoder import Decoder

HERE = Path(__file__).parent
DIGITS = DatasetSpec(name="digits", source="sklearn:digits", splits={"train": "train"})
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only this kernel ends what is stopped")
TRANSFORM = make_transform("test-v1", input_size=12, mean=(0.5,), std=(0.5,))


def steps_of(n: int, size: int) -> list[Step]:
    return [Step(batch=Batch(start=i, stop=min(i + size, n)), views=(0,), jobs=((0, 1),)) for i in range(0, n, size)]


def decoder(**settings) -> Decoder:
    settings = {"n_workers": 2, "mask": False, "pinned": False} | settings
    return Decoder(open_samples(DIGITS, "train"), TRANSFORM, **settings)


@pytest.fixture
def no_block_is_left(monkeypatch):
    """Look afterwards whether every block of shared memory that was made is gone."""
    names, take = set(), SharedBuffers.take

    def noted(self):
        block = take(self)
        names.add(block.name)
        return block

    monkeypatch.setattr(SharedBuffers, "take", noted)
    yield
    assert names
    for name in names:
        with pytest.raises(FileNotFoundError):
            SharedMemory(name=name)


@pytest.mark.parametrize("processes", [False, True])
def test_batches_come_in_order_and_are_cut_into_those_of_a_network(processes, request):
    if processes:
        request.getfixturevalue("no_block_is_left")
    samples = open_samples(DIGITS, "train")
    expected = np.stack([TRANSFORM.pixels(samples.image(i)) for i in range(100)])
    rows, pixels = [], []
    with decoder(processes=processes) as running:
        for step in running.decode(steps_of(100, 16)):
            assert step.jobs == (0, 1)
            for part in step.cut(6):
                assert part.pixels.shape[0] == len(part.batch) <= 6
                rows += range(part.batch.start, part.batch.stop)
                pixels.append(part.pixels.numpy().copy())  # the buffer is used again
    assert rows == list(range(100))
    assert np.array_equal(np.concatenate(pixels), expected)
    assert running.n_decoded == 100


def test_a_cut_knows_its_masked_rows():
    with decoder() as running:
        (step,) = running.decode(steps_of(10, 16))
    object.__setattr__(step, "masked", (1, 4, 9))
    assert [(p.batch.start, p.masked) for p in step.cut(4)] == [(0, (1,)), (4, (4,)), (8, (9,))]


@pytest.mark.usefixtures("no_block_is_left")
@pytest.mark.parametrize(("size", "seconds"), [(200, 0.0), (8, 0.5)], ids=["while waited for", "before more is given"])
def test_a_decoding_process_that_is_killed_ends_the_job_and_leaves_nothing(size, seconds):
    def decode_and_kill():
        with decoder(processes=True) as running:
            for _ in running.decode(steps_of(1000, size)):
                for process in list(running._pool._processes.values()):
                    process.kill()
                time.sleep(seconds)

    with pytest.raises(DecoderDied, match="a decoding process died"):
        decode_and_kill()


@pytest.mark.parametrize("stopped", [False, pytest.param(True, marks=on_linux)])
def test_decoding_processes_end_with_the_process_that_began_them(stopped):
    script = subprocess.Popen([sys.executable, str(HERE / "decoding_parent.py")], stdout=subprocess.PIPE, text=True)
    children = []
    try:
        children = [psutil.Process(int(pid)) for pid in script.stdout.readline().split()]
        assert children
        for child in children if stopped else ():
            until = time.monotonic() + 60
            while os.getpgid(child.pid) != child.pid:  # it is tied then
                assert time.monotonic() < until
                time.sleep(0.01)
            time.sleep(0.05)
            child.suspend()
        os.kill(script.pid, signal.SIGKILL)  # it can tell nobody
        script.wait()
        assert psutil.wait_procs(children, timeout=20)[1] == []
    finally:
        script.kill()
        script.stdout.close()
        script.wait()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def test_a_script_without_a_main_guard_is_told_so_and_does_not_hang(tmp_path):
    # The images are more than a pipe holds: to a process that died at its start, they would be written for ever.
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 16, 16), np.uint8)
    np.savez(tmp_path / "images.npz", x_train=pixels, y_train=np.arange(1000) % 2)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
        from extract import DatasetSpec, make_transform, open_samples
        from extract._batches import Batch, Step
        from extract._decoder import Decoder

        samples = open_samples(DatasetSpec(name="d", source="npz:images.npz", splits={"train": "train"}), "train")
        transform = make_transform("test-v1", input_size=12, mean=(0.5,), std=(0.5,))
        steps = [Step(batch=Batch(start=0, stop=32), views=(0,), jobs=((0,),))]
        with Decoder(samples, transform, n_workers=2, mask=False, pinned=False, processes=True) as running:
            list(running.decode(steps))
        """)
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "DecoderDied: a decoding process died" in done.stderr
    assert "__main__" in done.stderr.rpartition("DecoderDied")[2]


@pytest.mark.parametrize(("n_beside", "at_once"), [(1, {1}), (2, {2}), (None, {2, 3})])
def test_while_a_network_runs_so_many_threads_decode(n_beside, at_once, monkeypatch):
    lock, running, most = threading.Lock(), set(), 0

    def noted(samples, transform, rows, *rest, **settings):
        nonlocal most
        with lock:
            running.add(rows.start)
            most = max(most, len([start for start in running if start >= 64]))
        time.sleep(0.01)
        with lock:
            running.discard(rows.start)
        return real(samples, transform, rows, *rest, **settings)

    real = _decoder.decode_part
    monkeypatch.setattr(_decoder, "decode_part", noted)
    with decoder(n_workers=3, n_beside=n_beside) as decoding:
        seen = [d.batch.start for d in decoding.decode(steps_of(256, 64))]
    assert seen == [0, 64, 128, 192]
    assert most in at_once


def test_what_is_waited_for_first_is_decoded_by_all(monkeypatch):
    together = threading.Barrier(3)
    real = _decoder.decode_part

    def noted(samples, transform, rows, *rest, **settings):
        if rows.start < 24:
            together.wait(30)  # three parts are under way, or this fails
        return real(samples, transform, rows, *rest, **settings)

    monkeypatch.setattr(_decoder, "decode_part", noted)
    with decoder(n_workers=3, n_beside=1) as decoding:
        assert len(list(decoding.decode(steps_of(48, 24)))) == 2


@pytest.mark.parametrize(
    ("device", "n_threads", "expected"), [("cpu", 1, 3), ("cpu", 3, 1), ("cpu", 4, 4), ("cpu", 9, 4), ("cuda", 1, 4)]
)
def test_workers_take_the_cores_that_the_network_leaves(device, n_threads, expected, monkeypatch):
    monkeypatch.setattr(_device, "_n_cores", lambda: 4)
    assert _device.workers_beside(device, 4, n_threads) == expected
