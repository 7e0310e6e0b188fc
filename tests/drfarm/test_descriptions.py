"""What is kept of a loaded network holds for that very request: its name, its weights, who vouches for them."""

from dataclasses import replace

import pytest
import timm
from safetensors.torch import save_model

from drfarm._descriptions import describe
from extract import LayerSpec, ModelSpec, describe_model
from store import open_store

LAYERS = [LayerSpec(), LayerSpec(layer="layer2")]
# The study's normalisation is not that of the tag's training: a note says so, with the name of the model.
NORMALISED = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}


@pytest.fixture
def spec(tmp_path) -> ModelSpec:
    save_model(timm.create_model("test_resnet"), tmp_path / "weights.safetensors")
    path = str(tmp_path / "weights.safetensors")
    return ModelSpec(name="one", source="timm:test_resnet.r160_in1k", weights=path, input_size=32, **NORMALISED)


@pytest.fixture
def loaded(monkeypatch) -> list[str]:
    """Names of the models that were loaded."""
    names = []

    def noted(spec, layers):
        names.append(spec.name)
        return describe_model(spec, layers)

    monkeypatch.setattr("drfarm._descriptions.describe_model", noted)
    return names


def test_what_was_kept_is_what_loading_tells(spec, loaded, tmp_path):
    store = open_store(tmp_path / "s", create=True)
    first = describe(spec, LAYERS, store, remember=True)
    assert describe(spec, LAYERS, store, remember=True) == first == describe_model(spec, LAYERS)
    assert loaded == ["one"]
    assert first.notes


@pytest.mark.parametrize(
    "change",
    [
        {"name": "two"},
        {"trust": "pickle"},
        {"input_size": 64},
        {"arguments": {"num_classes": 1000}},
        {"mean": (0.1, 0.2, 0.4)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_request_is_described_anew(spec, loaded, tmp_path, change):
    store = open_store(tmp_path / "s", create=True)
    describe(spec, LAYERS, store, remember=True)
    other = replace(spec, **change)
    found = describe(other, LAYERS, store, remember=True)
    assert found == describe_model(other, LAYERS)
    assert all(other.name in note for note in found.notes)
    assert len(loaded) == 2


def test_layers_and_what_is_kept_of_them_count(spec, loaded, tmp_path):
    store = open_store(tmp_path / "s", create=True)
    for layers in (LAYERS, LAYERS[:1], [LAYERS[0], replace(LAYERS[1], keep="subsets")]):
        assert describe(spec, layers, store, remember=True) == describe_model(spec, layers)
    assert len(loaded) == 3


def test_a_newer_drfarm_describes_anew(spec, loaded, tmp_path, monkeypatch):
    store = open_store(tmp_path / "s", create=True)
    describe(spec, LAYERS, store, remember=True)
    monkeypatch.setattr("drfarm._descriptions.__version__", "99")
    describe(spec, LAYERS, store, remember=True)
    assert len(loaded) == 2


def test_weights_that_changed_in_place_are_described_anew(spec, loaded, tmp_path):
    store = open_store(tmp_path / "s", create=True)
    first = describe(spec, LAYERS, store, remember=True)
    save_model(timm.create_model("test_resnet"), spec.weights)
    second = describe(spec, LAYERS, store, remember=True)
    assert second.weights != first.weights
    assert len(loaded) == 2
