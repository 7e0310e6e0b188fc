"""A file is replaced as a whole, by any number of writers at once."""

import stat
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from store.whole_file import whole_file

N_WRITERS, N_TIMES, N_BYTES = 8, 20, 2**16


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    file = tmp_path / "report.html"
    written = [bytes([number]) * N_BYTES for number in range(N_WRITERS)]
    all_have_written = Barrier(N_WRITERS)
    seen = set()

    def write(data):
        for _ in range(N_TIMES):
            with whole_file(file) as partial:
                partial.write_bytes(data)
                all_have_written.wait(60)
            seen.add(file.read_bytes())

    with ThreadPoolExecutor(N_WRITERS) as pool:
        list(pool.map(write, written))
    assert seen
    assert seen <= set(written)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt])
def test_one_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, end):
    file = tmp_path / "a"
    file.write_bytes(b"old")

    def fail():
        with whole_file(file) as partial:
            partial.write_bytes(b"half of the n")
            raise end

    with pytest.raises(end):
        fail()
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_file_is_for_whom_any_file_of_this_user_is(tmp_path):
    (tmp_path / "any").write_bytes(b"")
    with whole_file(tmp_path / "new") as partial:
        partial.write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("any", "new")}
    assert len(modes) == 1
