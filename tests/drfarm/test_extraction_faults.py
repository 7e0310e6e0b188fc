"""Extraction by several processes, or by processes that are killed: the store ends as an undisturbed run leaves it."""

import importlib
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_CHUNKS = 2 * 2 * (24 + 8)
"""Networks, layers, chunks of both splits."""


@pytest.fixture(scope="module")
def nodes():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("nodes")


@pytest.fixture(scope="module")
def undisturbed(nodes, tmp_path_factory) -> Path:
    """A study's folder, with features that one process made from beginning to end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    study = nodes.write_study(folder, pause_s=0.01)
    code, _, err = nodes.finished(nodes.start(folder, "extract", study))
    assert code == 0, err
    assert nodes.n_chunks(folder / "store") == N_CHUNKS
    return folder


@pytest.fixture
def twin(undisturbed, tmp_path) -> Path:
    """A copy of that folder, without its store."""
    return Path(shutil.copytree(undisturbed, tmp_path / "twin", ignore=shutil.ignore_patterns("store")))


def test_eight_shards_at_once_leave_what_one_run_leaves(nodes, undisturbed, twin):
    forker = nodes.forker(twin)  # processes that are there at once do run side by side
    try:
        said = [{"out": twin / f"out-{i}", "err": twin / f"err-{i}"} for i in range(1, 9)]
        shards = [
            forker.fork("extract", twin / "study.yaml", "--shard", f"{i}/8", **files) for i, files in enumerate(said, 1)
        ]
        codes = [forker.code(pid, wait=True) for pid in shards]
        again = forker.fork("extract", twin / "study.yaml", err=twin / "again")
        assert forker.code(again, wait=True) == 0
    finally:
        forker.end()
    out, err = ([files[name].read_text() for files in said] for name in ("out", "err"))
    assert codes == [0] * 8, err
    assert nodes.files(twin / "store") == nodes.files(undisturbed / "store")
    told = [re.search(r"([\d,]+) images went through", text) for text in err]
    counted = [int(t[1].replace(",", "")) if t else 0 for t in told]
    assert sum(c > 0 for c in counted) == 8  # each had a part
    assert sum(counted) == 2 * (1500 + 500)  # and no image went through a network twice
    assert all("its part is done" in text for text in out)
    assert any(text.count("complete: ") == 8 for text in out)  # the last one saw all of it
    assert "nothing was left to do" in (twin / "again").read_text()


def test_fifty_kills_leave_what_an_undisturbed_run_leaves(nodes, undisturbed, twin, tmp_path, drfarm):
    expected = nodes.files(undisturbed / "store")
    moments = random.Random(50)
    kills: Counter[str] = Counter()
    forker = nodes.forker(twin)
    n_round = 0
    try:
        while kills.total() < 50:
            n_round += 1
            store = tmp_path / f"store-{n_round}"

            def begin(store: Path = store) -> int:
                return forker.fork("extract", twin / "study.yaml", "--store", store, "--quiet")

            while kills.total() < 50:
                before = nodes.n_chunks(store)
                pid = begin()
                if moments.random() < 0.8:  # while it writes; else wherever it is
                    least = before + moments.randrange(1, 6)
                    nodes.wait_until(
                        lambda: nodes.n_chunks(store) >= least or forker.code(pid, wait=False) is not None,  # noqa: B023
                        every_s=0.002,
                    )
                time.sleep(moments.uniform(0, 0.05))
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    break
                if forker.code(pid, wait=True) != -signal.SIGKILL:
                    break
                written = nodes.n_chunks(store)
                kills["in the middle" if 0 < written < N_CHUNKS else "before or after"] += 1
            assert forker.code(begin(), wait=True) == 0
            assert nodes.files(store) == expected
            verified = drfarm("store", "verify", "--store", store)
            assert (verified.code, "0 are bad" in verified.out) == (0, True), verified.text
    finally:
        forker.end()
    assert kills["in the middle"] >= 20, kills
    print(f"kills: {dict(kills)} in {n_round} rounds")
