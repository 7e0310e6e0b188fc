"""The real weights and images beside the project."""

from dataclasses import replace

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
    group_jobs,
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


NETWORKS = {
    "mobilenetv2_100": ("mobilenetv2_100_224", 224, 1280, {}),
    "mobilenetv1_100": ("mobilenetv1_100_224", 224, 1024, {"num_classes": 0}),
    "mobilenetv1_050": ("mobilenetv1_050_160", 160, 512, {"channel_multiplier": 0.5}),
    "mobilenetv1_025": ("mobilenetv1_025_128", 128, 256, {"channel_multiplier": 0.25}),
}


def spec_of(shared_data, name):
    file, size, _, extra = NETWORKS[name]
    arguments = {"num_classes": 1001, "pad_type": "same", **extra}
    source = f"timm:{name}"
    if "channel_multiplier" in extra:
        source, arguments = (
            "python:timm.models.efficientnet:_gen_mobilenet_v1",
            {"variant": "mobilenetv1_100", **arguments},
        )
    spec = mobilenet(shared_data, f"{file}.in1k.safetensors", size=size, source=source, arguments=arguments)
    return replace(spec, name=name)


def plain_loop(module, size, image):
    """Return the pooled features of one image: Pillow's resize of the short side, the centre, [-1, 1], forward."""
    image = image.convert("RGB")
    width, height = image.size
    short = min(width, height)
    image = image.resize((int(size * width / short), int(size * height / short)), Image.Resampling.BILINEAR)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size))).astype(np.float32) / 127.5 - 1
    with torch.inference_mode():
        maps = module.forward_features(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        return module.forward_head(maps, pre_logits=True)[0].numpy()


@pytest.mark.slow
def test_features_of_the_four_networks_are_those_of_a_plain_loop(shared_data, tmp_path):
    sets = [
        DatasetSpec(
            name="cifar10",
            source=f"folder:{shared_data / 'cifar10'}",
            splits={"test": "test"},
            classes=("cat", "ship"),
        ),
        DatasetSpec(
            name="flowers102",
            source=f"folder:{shared_data / 'flowers102'}",
            splits={"val": "val"},
            classes=tuple(sorted(p.name for p in (shared_data / "flowers102" / "val").iterdir())[:3]),
        ),
    ]
    options = ExtractOptions(device="cpu")
    specs = [spec_of(shared_data, name) for name in NETWORKS]
    jobs = plan_extraction(specs, sets, [LayerSpec()], options)
    for group in group_jobs(jobs):
        run_extraction(group, str(tmp_path / "s"), options)
    for job in jobs:
        _, size, width, _ = NETWORKS[job.model.spec.name]
        features = open_store(tmp_path / "s").features.open(job.ids[0])
        x = features.numpy()
        assert x.shape == (job.n_samples, width)
        module, samples = load_model(job.model.spec).module, open_samples(job.split.spec, job.split.split)
        for i in range(0, job.n_samples, max(1, job.n_samples // 6)):
            expected = plain_loop(module, size, samples.image(i))
            assert np.linalg.norm(x[i] - expected) < 1e-4 * np.linalg.norm(expected)
            assert np.linalg.norm(x[i - 1] - expected) > 1e-2 * np.linalg.norm(expected)  # another image differs


@pytest.mark.slow
def test_batch_norms_are_untouched_by_planning_and_running(shared_data, tmp_path, monkeypatch):
    """Shape probing and running leave every buffer as it was loaded (the released code moves them)."""
    held = []

    def keeping(spec):
        held.append(load_model(spec))
        return held[-1]

    monkeypatch.setattr("extract.describe.load_model", keeping)
    monkeypatch.setattr("extract._work.load_model", keeping)
    data = DatasetSpec(
        name="cifar10", source=f"folder:{shared_data / 'cifar10'}", splits={"test": "test"}, classes=("cat", "ship")
    )
    spec = spec_of(shared_data, "mobilenetv1_025")
    options = ExtractOptions(device="cpu")
    (job,) = plan_extraction([spec], [data], [LayerSpec(), LayerSpec(layer="blocks.*")], options)
    run_extraction(job, str(tmp_path / "s"), options)
    assert len(held) == 2
    before = dict(load_model(spec).module.named_buffers())
    assert any("running_var" in name for name in before)
    for loaded in held:
        assert not any(m.training for m in loaded.module.modules())
        for name, value in loaded.module.named_buffers():
            assert torch.equal(value, before[name])
