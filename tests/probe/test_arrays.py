"""The same functions on NumPy and on a library that has nothing but the standard; on CuPy where there is a GPU."""

import sys

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probe import InvalidProbe
from probe._arrays import cholesky, eigh, namespace, on_device, solve_triangular, to_numpy

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
)
LIBRARIES = ["numpy", "strict", CUDA]


def made(array, library):
    """Return a NumPy array as one of another library."""
    if library == "strict":
        return array_api_strict.asarray(array)
    return on_device(array, "cuda" if library == "cuda" else "cpu")


def definite(d, seed=0, dtype=np.float64):
    x = np.random.default_rng(seed).normal(size=(2 * d + 3, d))
    return (x.T @ x + 0.1 * np.eye(d)).astype(dtype)


@pytest.mark.parametrize("library", LIBRARIES)
def test_cholesky_is_lower_and_gives_the_matrix_back(library):
    a = definite(30)
    given_ = made(a, library)
    factor = cholesky(given_)
    assert type(factor) is type(given_)
    found = to_numpy(factor)
    np.testing.assert_allclose(found @ found.T, a, rtol=1e-12, atol=1e-11)
    assert not np.triu(found, 1).any()
    assert (np.diag(found) > 0).all()
    np.testing.assert_array_equal(to_numpy(given_), a)  # the matrix is left as it was


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("shape", [(30,), (30, 7)])
def test_triangular_solve_against_the_general_one(library, shape):
    lower = np.linalg.cholesky(definite(30))
    b = np.random.default_rng(1).normal(size=shape)
    above = lower + np.triu(np.full((30, 30), 9.0), 1)  # what stands above the diagonal is not looked at
    found = to_numpy(solve_triangular(made(above, library), made(b, library)))
    np.testing.assert_allclose(found, np.linalg.solve(lower, b), rtol=1e-10, atol=1e-12)
    assert found.shape == shape


@pytest.mark.parametrize("library", LIBRARIES)
def test_eigenvalues_rise_and_vectors_are_orthonormal(library):
    a = definite(25)
    values, vectors = (to_numpy(v) for v in eigh(made(a, library)))
    assert (np.diff(values) >= 0).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(25), atol=1e-12)
    np.testing.assert_allclose((vectors * values) @ vectors.T, a, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(values, np.sort(np.linalg.eigvals(a).real), rtol=1e-10)


@pytest.mark.parametrize("library", ["numpy", CUDA])
def test_float32_stays_float32(library):
    a = made(definite(5, dtype=np.float32), library)
    factor = cholesky(a)
    for out in (factor, solve_triangular(factor, a), *eigh(a)):
        assert to_numpy(out).dtype == np.float32


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_by_one(library):
    a = made(np.array([[4.0]]), library)
    assert to_numpy(cholesky(a)).item() == 2
    assert to_numpy(eigh(a)[0]).item() == 4
    assert to_numpy(solve_triangular(a, a)).item() == 1


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_has_no_factor_is_refused(library):
    singular, negative = np.zeros((3, 3)), np.diag([1.0, -1.0, 1.0])
    for a in (singular, negative):
        with pytest.raises(InvalidProbe, match="not positive definite"):
            cholesky(made(a, library))
    with pytest.raises(InvalidProbe, match="zero or NaN on its diagonal"):
        solve_triangular(made(np.diag([1.0, 0.0]), library), made(np.ones(2), library))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(library, bad):
    a = np.eye(3)
    a[1, 0] = a[0, 1] = bad
    for routine in (cholesky, eigh):
        with pytest.raises(InvalidProbe, match="not finite"):
            routine(made(a, library))
    with pytest.raises(InvalidProbe, match="zero or NaN"):
        solve_triangular(made(np.diag([1.0, bad]), library), made(np.ones(2), library))


def test_what_is_not_square_is_refused():
    for a in (np.ones((2, 3)), np.ones(3)):
        for routine in (cholesky, eigh):
            with pytest.raises(InvalidProbe, match="expected a square matrix"):
                routine(a)


def test_libraries_do_not_mix():
    assert namespace(np.ones(1)).asarray([1.0]).dtype == np.float64
    with pytest.raises(TypeError, match="namespace"):
        namespace(np.ones(1), array_api_strict.ones(1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_to_the_device_and_back(dtype):
    a = np.arange(6, dtype=dtype).reshape(2, 3)
    assert on_device(a, "cpu") is a
    assert to_numpy(on_device(torch.from_numpy(a), "cpu")).dtype == dtype
    np.testing.assert_array_equal(to_numpy(torch.from_numpy(a)), a)


@pytest.mark.parametrize("device", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu:0"])
def test_devices_that_are_none(device):
    with pytest.raises(InvalidProbe, match="there is no device"):
        on_device(np.ones(3), device)


def test_without_cupy_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(InvalidProbe, match=r"need CuPy.*drfarm\[gpu\].*--device cpu"):
        on_device(np.ones(3), "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_and_back():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = on_device(a, "cuda:0")
    assert type(there).__module__.startswith("cupy")
    assert on_device(there, "cuda") is there
    np.testing.assert_array_equal(to_numpy(there), a)
    with pytest.raises(InvalidProbe, match="numbered from 0"):
        on_device(a, "cuda:99")


@settings(max_examples=20, deadline=None)
@given(d=st.integers(1, 12), seed=st.integers(0, 1000))
def test_both_libraries_agree(d, seed):
    a, b = definite(d, seed), np.random.default_rng(seed).normal(size=(d, 3))
    plain = solve_triangular(cholesky(a), b)
    strict = solve_triangular(cholesky(made(a, "strict")), made(b, "strict"))
    np.testing.assert_allclose(to_numpy(strict), plain, rtol=1e-9, atol=1e-10)
