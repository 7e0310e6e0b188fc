"""How many images to run at once, where nobody says: the fewest that come within a few per cent of the best rate.

A batch size decides bits, by the kernels that it chooses. What was found is kept in the store when a job begins, so
that whoever goes on with it (after a kill, or beside it, on another node) cuts the same batches.
"""

from collections.abc import Callable

CPU_BATCH = 64
"""On a CPU more images at once are no faster, and take more memory."""
_FIRST, _MOST = 32, 1024
_GAIN = 1.05
"""A doubling that brings less than this is not worth its memory."""


def find_batch_size(seconds: Callable[[int], float | None], *, first: int = _FIRST, most: int = _MOST) -> int:
    """Return the batch size to use, from trials of doubling size.

    Parameters
    ----------
    seconds
        Runs so many images and returns the time that it took; None where they do not fit.
    first, most
        Smallest and largest size that is tried; where the first does not fit, halves of it are.

    Returns
    -------
    int
        A power of two times ``first``, >= 1.
    """
    size, best = first, 0.0
    while size > 1 and (took := seconds(size)) is None:
        size //= 2
        most = size
    if size == 1:
        return 1
    best = size / max(took or 1e-9, 1e-9)
    while 2 * size <= most:
        took = seconds(2 * size)
        if took is None or 2 * size / max(took, 1e-9) < _GAIN * best:
            break
        size, best = 2 * size, 2 * size / max(took, 1e-9)
    return size
