"""Telling the C library to keep what a forward pass frees, for the next one."""

import ctypes
import functools

# https://man7.org/linux/man-pages/man3/mallopt.3.html
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Let freed memory stay with this process, where the C library is glibc; say whether it does.

    Activations of a batch take hundreds of megabytes. By default glibc maps each of them anew and gives it back when
    it is freed, so that every layer of every batch has its pages cleared by the kernel again: on two cores a
    MobileNetV2 at batch 64 spends more than half of its time there (62 against 169 images a second).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
