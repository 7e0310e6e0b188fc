"""Protocols: budgets as the paper and the authors' scripts have them, and ids that stay what they were."""

import dataclasses
import math

import pytest

from probe import SGD_PROTOCOLS, InvalidProbe, sgd_protocol
from probe.protocols import FIXED_SEED
from store import UnknownName, canonical_json

PAPER = SGD_PROTOCOLS["paper"]


def test_the_identity_of_the_papers_protocol_never_changes():
    assert canonical_json(PAPER.identity()) == (
        b'{"batch_size":256,"decay_every_epochs":10,"decay_factor":0.1,"epochs":50,"learning_rate":0.1,"momentum":0.9,'
        b'"name":"paper","order_seed":0,"version":1,"weight_decay":0.0001}'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rates": (0.1, 0.01)},
        {"validate_every": 5},
        {"validation_view": "epoch"},
        {"initial": "fixed"},
        {"normalisation": "standardised"},
        {"precision": "tf32"},
        {"epochs": 51},
    ],
)
def test_every_setting_enters_the_identity(change):
    other = dataclasses.replace(PAPER, **change).identity()
    assert canonical_json(other) != canonical_json(PAPER.identity())
    (name,) = change
    assert other[name] == (list(change[name]) if isinstance(change[name], tuple) else change[name])


# Protocol note, section 4: group -> epochs, StepLR, batch, weight decay.
BUDGETS = {
    "resnet50": (100, 20, 256, 1e-4),
    "main": (50, 10, 256, 1e-4),
    "pca": (100, 20, 256, 5e-4),
    "pca-flowers-pets": (100, 20, 256, 1e-4),
    "late": (50, 10, 256, 5e-4),
    "late-flowers-pets": (50, 10, 256, 1e-4),
    "dropout": (20, 3, 1024, 5e-4),
    "dropout-flowers-pets": (20, 3, 1024, 1e-4),
    "imagenet": (10, 1, 512, 1e-4),
    "places-small": (50, 5, 1024, 5e-4),
    "places": (15, 3, 1024, 5e-4),
    "places-full": (100, 20, 1024, 5e-4),
}


def test_the_released_budgets_are_those_of_the_scripts():
    released = {n.removeprefix("as-released:"): p for n, p in SGD_PROTOCOLS.items() if n.startswith("as-released:")}
    found = {n: (p.epochs, p.decay_every_epochs, p.batch_size, p.weight_decay) for n, p in released.items()}
    assert found == BUDGETS
    for p in released.values():
        assert (p.learning_rate, p.momentum, p.decay_factor, p.initial) == (0.1, 0.9, 0.1, "fixed")
        assert (p.validation_view, p.normalisation, p.learning_rates) == ("epoch", "none", ())
    assert {n for n, p in released.items() if p.validate_every == 5} == {
        n for n in BUDGETS if n.startswith(("late", "dropout", "places"))
    }
    assert set(SGD_PROTOCOLS) == {"paper", *(f"as-released:{n}" for n in BUDGETS)}
    assert all(sgd_protocol(n).name == n for n in SGD_PROTOCOLS)


def test_rates_fall_and_validation_comes_when_it_is_due():
    p = dataclasses.replace(PAPER, epochs=12, validate_every=5, decay_every_epochs=4)
    assert [e for e in range(12) if p.validates(e)] == [4, 9, 11]
    assert [round(p.rate(e), 12) for e in (0, 3, 4, 8)] == [0.1, 0.1, 0.01, 0.001]
    tried = dataclasses.replace(p, learning_rates=(1.0, 0.5))
    assert tried.rates == (1.0, 0.5)
    assert (tried.rate(0), tried.rate(4)) == (1.0, 0.1)
    assert p.rates == (0.1,)


def test_fixed_initial_weights_have_one_seed():
    assert PAPER.initial_seed(7) == 7
    assert sgd_protocol("as-released:main").initial_seed(7) == FIXED_SEED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1, got 0"),
        ({"validate_every": 0}, "validate_every must be >= 1"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"learning_rate": math.nan}, "learning_rate must be > 0 and finite, got nan"),
        ({"learning_rates": (0.1, -1.0)}, "learning_rates must be > 0 and finite, got -1"),
        ({"learning_rates": (0.1, 0.1)}, "holds one twice"),
        ({"momentum": 1.0}, r"momentum lies in \[0, 1\)"),
        ({"weight_decay": -1e-4}, "weight_decay must be >= 0"),
        ({"decay_factor": math.inf}, "decay_factor must be >= 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(InvalidProbe, match=message):
        dataclasses.replace(PAPER, **change)


@pytest.mark.parametrize(
    ("field", "value", "near"),
    [
        ("initial", "sed", "seed"),
        ("validation_view", "firs", "first"),
        ("normalisation", "standardized", "standardised"),
        ("precision", "float16", "float32"),
    ],
)
def test_a_misspelt_choice_is_answered_with_the_nearest(field, value, near):
    with pytest.raises(UnknownName, match=near):
        dataclasses.replace(PAPER, **{field: value})


def test_an_unknown_protocol_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="as-released:dropout"):
        sgd_protocol("as-released:dropot")
