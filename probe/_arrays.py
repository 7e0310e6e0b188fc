"""One code for two devices: which array library computes, and the few routines that the array API standard lacks.

What is written against `namespace` runs on NumPy (CPU), CuPy (GPU) and any other library of the standard
(https://data-apis.org/array-api/2024.12); where the standard has no fast routine, the library's own is taken.
"""

from typing import Any

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from probe.errors import InvalidProbe


def namespace(*arrays: Any) -> Any:
    """Return the array API namespace of the library that made ``arrays``.

    Raises
    ------
    TypeError
        If they are of different libraries: a mix of devices is a fault of the program.
    """
    return array_api_compat.array_namespace(*arrays)


def on_device(array: Any, device: str) -> Any:
    """Return ``array`` on a device: a NumPy array for ``cpu``, a CuPy array for ``cuda`` or ``cuda:N``.

    Nothing is copied where it is there already; dtype and shape stay.

    Raises
    ------
    InvalidProbe
        If there is no such device, or CuPy is not installed.
    """
    if device == "cpu":
        return to_numpy(array)
    kind, colon, number = device.partition(":")
    if kind != "cuda" or bool(colon) != number.isdecimal():
        raise InvalidProbe(f"there is no device {device!r}: expected cpu, cuda, or cuda:N for the N-th GPU.")
    cupy = _cupy(device)
    index = int(number or 0)
    try:
        n_devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as e:
        raise InvalidProbe(f"device {device!r}: CuPy finds no GPU ({e}). Use --device cpu.") from e
    if index >= n_devices:
        raise InvalidProbe(f"device {device!r}: there are {n_devices} GPUs, numbered from 0.")
    with cupy.cuda.Device(index):
        return cupy.asarray(array)


def _cupy(device: str) -> Any:
    try:
        import cupy
    except ImportError as e:
        raise InvalidProbe(
            f"device {device!r}: statistics on a GPU need CuPy, which can't be imported ({e}). Install drfarm[gpu], "
            "or use --device cpu."
        ) from e
    return cupy


def to_numpy(array: Any) -> NDArray[Any]:
    """Return ``array`` as a NumPy array, from whatever device it is on; dtype and shape stay."""
    if array_api_compat.is_cupy_array(array):
        return np.asarray(array.get())
    if array_api_compat.is_torch_array(array):
        return np.asarray(array.detach().cpu().numpy())
    return np.asarray(array)


def cholesky(a: Any) -> Any:
    """Return the lower Cholesky factor L of a symmetric matrix A, shape (d, d), with A = L L'.

    Zeros stand above the diagonal of L. A is not changed; its dtype, float32 or float64, is kept.

    Raises
    ------
    InvalidProbe
        If A is not finite or not positive definite: a NaN never comes out.
    """
    xp = namespace(a)
    _check_square(xp, a)
    try:
        if array_api_compat.is_numpy_array(a):
            # In the Fortran order that `solve_triangular` takes without a copy.
            from scipy.linalg import cholesky as factor

            return factor(a, lower=True, check_finite=False)
        if array_api_compat.is_cupy_array(a):
            import cupyx

            with cupyx.errstate(linalg="raise"):  # by default CuPy looks at no error code, and returns NaN
                return xp.linalg.cholesky(a)
        return xp.linalg.cholesky(a)
    except np.linalg.LinAlgError as e:
        raise InvalidProbe(
            f"a matrix of shape {tuple(a.shape)} is not positive definite, so it has no Cholesky factor. Add to its "
            "diagonal: a larger ridge weight."
        ) from e


def solve_triangular(lower: Any, b: Any) -> Any:
    """Return L^-1 b for a lower triangular L, shape (d, d), and b of shape (d,) or (d, m).

    Raises
    ------
    InvalidProbe
        If L has a zero or a value that is not finite on its diagonal.
    """
    xp = namespace(lower, b)
    diagonal = xp.linalg.diagonal(lower)
    if not bool(xp.all(xp.isfinite(diagonal) & (diagonal != 0))):
        raise InvalidProbe(f"a triangular matrix of shape {tuple(lower.shape)} has a zero or NaN on its diagonal.")
    if array_api_compat.is_numpy_array(lower):
        from scipy.linalg import solve_triangular as solve

        return solve(lower, b, lower=True, check_finite=False)
    if array_api_compat.is_cupy_array(lower):
        from cupyx.scipy.linalg import solve_triangular as solve

        return solve(lower, b, lower=True, check_finite=False)
    return xp.linalg.solve(xp.tril(lower), b)


def eigh(a: Any) -> tuple[Any, Any]:
    """Return the eigenvalues of a symmetric matrix, shape (d,), rising, and its eigenvectors as columns, (d, d).

    The sign of an eigenvector, and which basis stands for equal eigenvalues, differs from library to library.

    Raises
    ------
    InvalidProbe
        If the matrix is not finite.
    """
    xp = namespace(a)
    _check_square(xp, a)
    values, vectors = xp.linalg.eigh(a)
    return values, vectors


def _check_square(xp: Any, a: Any) -> None:
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise InvalidProbe(f"expected a square matrix, got shape {tuple(a.shape)}.")
    if not bool(xp.all(xp.isfinite(a))):
        raise InvalidProbe(f"a matrix of shape {tuple(a.shape)} has values that are not finite.")
