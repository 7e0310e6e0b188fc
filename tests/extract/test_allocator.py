"""Freed memory stays with the process where the C library is glibc, and nothing breaks where it is not."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from extract._allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
torch.ones(16 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(16 * 2**20)  # 64 MiB
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    run = subprocess.run([sys.executable, "-c", CODE, how], check=True, capture_output=True, text=True)
    kept, faults = run.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_large_tensors_are_not_mapped_anew_each_time():
    kept, few = page_faults("keep")
    assert kept
    _, many = page_faults("as it is")
    assert few < many / 2
