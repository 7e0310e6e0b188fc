"""The real weights and images beside the project."""

import numpy as np
import pytest
import torch
from PIL import Image

from extract import (
    DatasetSpec,
    ExtractOptions,
    LayerSpec,
    ModelSpec,
    WeightsMismatch,
    load_model,
    open_samples,
    plan_extraction,
    resolve_layers,
    run_extraction,
)
from extract._recorder import Recorder
from store import open_store

pytestmark = pytest.mark.shared_data
HALF = (0.5, 0.5, 0.5)


def mobilenet(shared_data, file, *, size, **settings):
    return ModelSpec(
        name="mobilenet",
        weights=str(shared_data / "weights" / file),
        input_size=size,
        mean=HALF,
        std=HALF,
        **settings,
    )


def narrow(shared_data, **arguments):
    return mobilenet(
        shared_data,
        "mobilenetv1_025_128.in1k.safetensors",
        size=128,
        source="python:timm.models.efficientnet:_gen_mobilenet_v1",
        arguments={
            "variant": "mobilenetv1_100",
            "channel_multiplier": 0.25,
            "num_classes": 1001,
            "pad_type": "same",
            **arguments,
        },
    )


def test_a_file_without_a_classifier_has_a_penultimate_layer(shared_data):
    spec = mobilenet(
        shared_data,
        "mobilenetv1_100_224.in1k.safetensors",
        size=224,
        source="timm:mobilenetv1_100",
        arguments={"num_classes": 0, "pad_type": "same"},
    )
    loaded = load_model(spec)
    (layer,) = resolve_layers(loaded, [LayerSpec()])
    assert (layer.module, layer.side, layer.width) == ("classifier", "input", 1024)
    x = torch.rand(2, 3, 224, 224)
    with Recorder(loaded.module, [layer]) as recorder, torch.inference_mode():
        expected = loaded.module(x)
        torch.testing.assert_close(recorder.take()[0], expected, rtol=0, atol=0)


def test_the_wrong_number_of_classes_is_explained(shared_data):
    with pytest.raises(WeightsMismatch, match="num_classes: 1001"):
        load_model(narrow(shared_data, num_classes=1000))


def test_real_images_through_a_real_network(shared_data, tmp_path):
    data = DatasetSpec(
        name="cifar10",
        source=f"folder:{shared_data / 'cifar10'}",
        splits={"test": "test"},
        classes=("airplane", "frog"),
    )
    options = ExtractOptions(device="cpu")
    (job,) = plan_extraction([narrow(shared_data)], [data], [LayerSpec()], options)
    report = run_extraction(job, str(tmp_path / "s"), options)
    features = open_store(tmp_path / "s").features.open(job.ids[0])
    x = features.numpy()
    assert x.shape == (400, 256)
    assert report.masked == ()
    # Plain loop: the image is square, so a resize straight to the input size is the test transform.
    module = load_model(narrow(shared_data)).module
    samples = open_samples(data, "test")
    for i in (0, 123, 399):
        image = samples.image(i).convert("RGB").resize((128, 128), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.inference_mode():
            expected = module.forward_head(module.forward_features(pixels), pre_logits=True)[0]
        np.testing.assert_allclose(x[i], expected.numpy(), rtol=1e-3, atol=1e-4)
    # Features of a real network tell aeroplanes from frogs: nearest class mean of the even rows, on the odd ones.
    means = np.stack([x[::2][features.labels[::2] == c].mean(0) for c in (0, 1)])
    nearest = ((x[1::2, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == features.labels[1::2]).mean() > 0.85
