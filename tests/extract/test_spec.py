import pickle

import pytest

from extract import DatasetSpec, ExtractOptions, LayerSpec, ModelSpec
from store import InvalidRequest, UnknownName


def model(**settings):
    return ModelSpec(**({"name": "m", "source": "timm:resnet10t", "weights": "random:0"} | settings))


def dataset(**settings):
    return DatasetSpec(**({"name": "d", "source": "sklearn:digits", "splits": {"train": "train"}} | settings))


def test_lists_become_tuples_of_numbers():
    spec = model(mean=[0, 0, 0], std=[1, 1, 1])
    assert spec.mean == (0.0, 0.0, 0.0)
    assert dataset(classes=[5, 6]).classes == ("5", "6")
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(
    "settings, error, match",
    [
        ({"source": "tim:resnet10t"}, UnknownName, "Did you mean 'timm'"),
        ({"source": "timm"}, InvalidRequest, "timm:NAME"),
        ({"source": "python:module"}, InvalidRequest, "python:MODULE:CALLABLE"),
        ({"weights": ""}, InvalidRequest, "random:SEED"),
        ({"name": "../m"}, InvalidRequest, "a name has"),
        ({"arguments": {"norm_layer": object}}, InvalidRequest, "what JSON can carry"),
        ({"arguments": {"drop_rate": float("nan")}}, InvalidRequest, "what JSON can carry"),
        ({"input_size": 0}, InvalidRequest, "input_size must be >= 1"),
        ({"mean": (0.5,)}, InvalidRequest, "std is not given"),
        ({"mean": (0.5, 0.5), "std": (1, 1)}, InvalidRequest, "3 values each"),
        ({"mean": (0.5,), "std": (0,)}, InvalidRequest, "every std must be > 0"),
    ],
)
def test_models_that_make_no_sense(settings, error, match):
    with pytest.raises(error, match=match):
        model(**settings)


@pytest.mark.parametrize(
    "settings, error, match",
    [
        ({"source": "foldr:x"}, UnknownName, "Did you mean 'folder'"),
        ({"source": "folder"}, InvalidRequest, "folder:PLACE"),
        ({"splits": {}}, InvalidRequest, "splits is empty"),
        ({"splits": {"trian": "train"}}, UnknownName, "Did you mean 'train'"),
        ({"splits": {"train": "../x"}}, InvalidRequest, "a name has"),
        ({"classes": ("a", "a")}, InvalidRequest, "once each"),
    ],
)
def test_data_sets_that_make_no_sense(settings, error, match):
    with pytest.raises(error, match=match):
        dataset(**settings)


def test_layers_and_options_that_make_no_sense():
    with pytest.raises(UnknownName, match="Did you mean 'flatten'"):
        LayerSpec(layer="x", pool="flaten")
    with pytest.raises(InvalidRequest, match="empty"):
        LayerSpec(layer="")
    with pytest.raises(UnknownName, match="Did you mean 'cuda'"):
        ExtractOptions(device="cuda:0")
    with pytest.raises(InvalidRequest, match="batch_size must be >= 1, got 0"):
        ExtractOptions(batch_size=0)
