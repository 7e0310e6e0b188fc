"""Named precisions: rounding as IEEE has it, and errors within what is stated."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probe._products import UNIT, Products, matmul_precision, rounded

BITS = {"float32": 24, "tf32": 11, "bf16": 8}
normal = st.floats(2.0**-100, 2.0**100, width=32) | st.floats(-(2.0**100), -(2.0**-100), width=32)


@pytest.mark.parametrize("precision", BITS)
@given(value=normal)
def test_rounding_is_to_the_nearest_number_of_so_many_bits(precision, value):
    fraction, exponent = np.frexp(value)
    scale = 2.0 ** BITS[precision]
    nearest = np.ldexp(np.rint(fraction * scale) / scale, exponent)  # np.rint: ties to even
    found = float(rounded(torch.tensor([value]), precision)[0])
    assert found == nearest
    assert abs(found - value) <= UNIT[precision] * abs(value)


@pytest.mark.parametrize("precision", BITS)
def test_zero_and_what_is_not_finite_stay(precision):
    x = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan")])
    assert torch.equal(rounded(x, precision)[:4], x[:4])
    assert torch.isnan(rounded(x, precision)[4])


@pytest.mark.parametrize("precision", BITS)
def test_products_are_off_by_no_more_than_is_stated(precision):
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.normal(size=s).astype(np.float32)) for s in ((40, 64), (64, 30)))
    exact = a.double() @ b.double()
    size = a.double().abs() @ b.double().abs()
    products = Products(precision, torch.device("cpu"))
    factor = products.factor(b.clone())
    products.refresh(factor, b)
    out, added = torch.empty(40, 30), torch.ones(40, 30)
    products.write(out, a, factor)
    products.add(added, a, factor)
    stated = 2 * UNIT[precision] * (1 + UNIT[precision]) + 70 * UNIT["float32"]
    assert bool(((out - exact).abs() <= stated * size).all())
    assert bool(((added - 1 - exact).abs() <= stated * size + 1e-5).all())
    if precision != "float32":  # or nothing would have been rounded
        assert float((out - exact).abs().max()) > 20 * UNIT["float32"]


def test_the_processs_setting_is_restored():
    before = torch.get_float32_matmul_precision()
    try:
        for outer in ("highest", "high"):
            torch.set_float32_matmul_precision(outer)
            with matmul_precision("tf32"):
                assert torch.get_float32_matmul_precision() == "high"
            with matmul_precision("float32"):
                assert torch.get_float32_matmul_precision() == "highest"
            assert torch.get_float32_matmul_precision() == outer
    finally:
        torch.set_float32_matmul_precision(before)
