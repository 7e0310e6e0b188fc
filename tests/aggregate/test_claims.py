"""What the sentences of the paper come to: the verdicts, and the arithmetic behind them done in another way."""

import numpy as np
import pytest

from aggregate.published import deviations, paper_claims, published_accuracies, published_table1
from aggregate.published.claims import Claim, Part
from aggregate.published.recomputed import recomputed_redundancy


def estimate(fractions, accuracies, delta):
    """Return DR by the authors' rule, by Eq. 1, and interpolated, in a plain loop over the printed fractions."""
    ratios = [a / accuracies[-1] for a in accuracies]
    distances = [round(abs(ratio - delta), 12) for ratio in ratios]
    nearest = 1 - fractions[distances.index(min(distances))]
    star = next(i for i, ratio in enumerate(ratios) if ratio >= delta - 1e-12)
    between = fractions[star]
    if star:
        between = float(np.interp(delta, ratios[star - 1 : star + 1], fractions[star - 1 : star + 1]))
    return nearest, 1 - fractions[star], 1 - between


@pytest.mark.parametrize("delta", [0.8, 0.9, 0.95])
def test_dr_is_recomputed_as_a_plain_loop_does(delta):
    curves = {}
    for row in published_accuracies().to_pylist():
        curves.setdefault((row["model"], row["method"], row["dataset"]), []).append((row["fraction"], row["accuracy"]))
    found = recomputed_redundancy(delta).to_pylist()
    assert len(found) == len(curves) == 62
    for row in found:
        points = sorted(curves[row["model"], row["method"], row["dataset"]])
        expected = estimate([f for f, _ in points], [a for _, a in points], delta)
        assert [row["nearest"], row["strict"], row["interpolated"]] == pytest.approx(expected, abs=1e-10), row
        assert row["nearest"] == round(row["nearest"], 4)


def test_the_verdicts():
    verdicts = {claim.id: claim.verdict for claim in paper_claims()}
    assert verdicts == {
        "twenty-percent": "does not hold",
        "follows-pca": "partly",
        "random-projection": "holds",
        "ff8": "holds",
        "v2-gap": "partly",
        "small-bars": "partly",
        "monotone": "partly",
        "cka-tenth": "holds",
        "cka-fewer": "holds",
        "cka-pairs": "holds",
        "cka-matryoshka": "partly",
        "table1": "partly",
        "robust": "holds",
        "robust-elsewhere": "does not hold",
        "upstream": "holds",
        "task": "holds",
        "regularisers": "can't be decided",
        "thirty": "does not hold",
    }


def test_what_decides_them():
    claims = {claim.id: claim for claim in paper_claims()}
    twenty = claims["twenty-percent"]
    assert twenty.evidence.startswith(f"0.8323 against 0.8914: {100 * (0.8323 - 0.8914):.1f} points; ratio 0.934; ")
    assert "-3.6 points, ratio 0.959" in twenty.note
    table1 = claims["table1"]
    assert table1.counts == f"12 of {published_table1().num_rows}"
    assert table1.note == "12 of 24 entries differ, by 0.05 to 0.30; by the rule nearest 24 of 24 are as printed"
    # All that change fall: Eq. 1 never finds a smaller subset than the nearest one of these.
    assert all(part.held or _falls(part.what) for part in table1.parts)
    assert claims["robust-elsewhere"].counts == "0 of 4, 8 undecided"
    assert claims["robust-elsewhere"].note == "by the rule nearest 0 higher, 8 equal, 4 lower"
    assert claims["robust"].note == "by the rule nearest 3 higher, 1 equal, 0 lower"
    assert "flowers 0.04 to 0.18 (standard ResNet50, full budget: 0.61)" in claims["regularisers"].evidence
    assert claims["cka-matryoshka"].note == "the 11 exceptions are all at 32 neurons or fewer"
    assert "; and 7 more; the 11 exceptions" in claims["cka-matryoshka"].evidence
    assert "largest: 5.0 points (resnet50, flowers, fraction 0.3)" in claims["small-bars"].evidence
    assert claims["thirty"].parts == (Part("the text names 31", False),)


def test_the_numbers_that_deviations_quote_are_computed():
    quoted = {d.id: d.released for d in deviations()}
    claims = {claim.id: claim for claim in paper_claims()}
    assert "12 are lower by Eq. 1, by 0.05 to 0.30" in quoted["D1"]
    assert quoted["D11"].startswith("0.8323 against 0.8914: 5.9 points less, a ratio of 0.934.")
    assert claims["twenty-percent"].parts[0].what == "0.8323 against 0.8914: -5.9 points"
    assert "reaches 4 to 19 %" in quoted["D6"]
    flowers = [
        100 * row["accuracy"]
        for row in published_accuracies().to_pylist()
        if (row["source"], row["dataset"], row["fraction"]) == ("dropout", "flowers", 1.0)
    ]
    assert 4 <= min(flowers) < 5
    assert 18 < max(flowers) <= 19
    assert "The text adds up to 31" in quoted["D18"]


def _falls(what):
    printed, strict = (float(words.split()[0]) for words in what.split(": ")[1].split(", "))
    return strict < printed


@pytest.mark.parametrize(
    ("held", "verdict", "counts"),
    [
        ([True, True], "holds", "2 of 2"),
        ([True, None], "holds", "1 of 1, 1 undecided"),
        ([True, False, None], "partly", "1 of 2, 1 undecided"),
        ([False, None], "does not hold", "0 of 1, 1 undecided"),
        ([None], "can't be decided", "0 of 0, 1 undecided"),
        ([], "can't be decided", "0 of 0"),
    ],
)
def test_a_verdict_is_that_of_the_decided_parts(held, verdict, counts):
    parts = tuple(Part(f"part {i}", value) for i, value in enumerate(held))
    claim = Claim(id="c", sentence="s", where="w", reading="r", parts=parts, note="", deviations=())
    assert (claim.verdict, claim.counts) == (verdict, counts)


def test_deviations_that_claims_name_are_there():
    known = {d.id for d in deviations()}
    ids = [claim.id for claim in paper_claims()]
    assert len(ids) == len(set(ids))
    for claim in paper_claims():
        assert claim.deviations
        assert set(claim.deviations) <= known
        assert claim.parts
        assert claim.evidence
