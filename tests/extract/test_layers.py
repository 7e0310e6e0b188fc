import pytest
import torch
import torchvision

from extract import InvalidLayer, LayerSpec, ModelSpec, layer_widths, load_model, resolve_layers
from extract._recorder import Recorder
from store import UnknownName


def load(source, **settings):
    return load_model(ModelSpec(**({"name": "m", "source": source, "weights": "random:0"} | settings)))


def record(loaded, layers, n=3):
    torch.manual_seed(1)
    x = torch.randn(n, *loaded.input_shape)
    with Recorder(loaded.module, resolve_layers(loaded, layers)) as recorder, torch.inference_mode():
        loaded.module(x)
        return x, recorder.take()


PENULTIMATE = [LayerSpec()]


@pytest.mark.parametrize(
    "name, arguments, size",
    [
        ("test_resnet", {}, 64),
        ("resnet10t", {}, 64),
        ("vgg11", {}, 32),
        ("test_vit", {}, 160),
        ("test_vit2", {}, 160),
        ("test_convnext", {}, 64),
        ("test_efficientnet", {}, 64),
        ("test_mambaout", {}, 64),
        ("mobilenetv2_050", {"pad_type": "same"}, 64),
        ("mobilenetv1_100", {"pad_type": "same", "num_classes": 0}, 64),
        ("test_resnet", {"num_classes": 0}, 64),
        ("test_vit", {"num_classes": 0}, 160),
        ("mobilenetv3_small_050", {}, 64),
    ],
)
def test_penultimate_of_timm_is_pre_logits(name, arguments, size):
    loaded = load(f"timm:{name}", arguments=arguments, input_size=size)
    x, (got,) = record(loaded, PENULTIMATE)
    with torch.inference_mode():
        expected = loaded.module.forward_head(loaded.module.forward_features(x), pre_logits=True)
    assert expected.ndim == 2
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert got.std() > 0


@pytest.mark.parametrize("name, width", [("resnet18", 512), ("mobilenet_v2", 1280), ("vgg11", 4096), ("vit_b_32", 768)])
def test_penultimate_of_torchvision_feeds_the_last_linear(name, width):
    loaded = load(f"torchvision:{name}", input_size=224 if name == "vit_b_32" else 64)
    x, (got,) = record(loaded, PENULTIMATE)
    assert got.shape == (3, width)
    head = [m for m in loaded.module.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.inference_mode():
        torch.testing.assert_close(head(got), loaded.module(x), rtol=0, atol=0)


def test_penultimate_of_python_networks(toys):
    x, (got,) = record(load_model(toys("Plain")), PENULTIMATE)
    module = load_model(toys("Plain")).module
    with torch.inference_mode():
        torch.testing.assert_close(module.fc(got), module(x), rtol=0, atol=0)


def test_a_network_without_a_classifier_names_what_to_do(toys):
    with pytest.raises(InvalidLayer, match=r"layers: \[\{layer: conv\}\]"):
        resolve_layers(load_model(toys("ConvHead")), PENULTIMATE)
    with pytest.raises(InvalidLayer, match=r"\[\{layer: norm\}\]"):
        resolve_layers(load("timm:deit_tiny_distilled_patch16_224"), PENULTIMATE)
    with pytest.raises(InvalidLayer, match="no penultimate layer"):
        resolve_layers(load("torchvision:squeezenet1_1", input_size=64), PENULTIMATE)


def test_pooling_of_maps():
    loaded = load("timm:test_resnet", input_size=64)
    layers = [LayerSpec(layer="layer2", pool=p) for p in (None, "avg", "max", "flatten")]
    assert [r.pool for r in resolve_layers(loaded, layers)] == ["avg", "max", "flatten"]
    x, (avg, top, flat) = record(loaded, layers)
    with torch.inference_mode():
        maps = loaded.module.layer2(loaded.module.layer1(loaded.module.maxpool(stem(loaded.module, x))))
    torch.testing.assert_close(avg, maps.mean((2, 3)), rtol=0, atol=0)
    torch.testing.assert_close(top, maps.amax((2, 3)), rtol=0, atol=0)
    torch.testing.assert_close(flat, maps.flatten(1), rtol=0, atol=0)


def stem(model, x):
    return model.act1(model.bn1(model.conv1(x)))


def test_pooling_of_tokens():
    vit = load("timm:test_vit")
    layers = [LayerSpec(layer="blocks.1", pool=p) for p in (None, "avg", "max", "flatten")]
    assert [r.pool for r in resolve_layers(vit, layers)] == ["cls", "avg", "max", "flatten"]
    _, (cls, avg, top, flat) = record(vit, layers)
    tokens = flat.reshape(3, -1, 64)
    torch.testing.assert_close(cls, tokens[:, 0], rtol=0, atol=0)
    torch.testing.assert_close(avg, tokens.mean(1), rtol=0, atol=0)
    torch.testing.assert_close(top, tokens.amax(1), rtol=0, atol=0)
    with pytest.raises(InvalidLayer, match="use avg, max or flatten"):
        resolve_layers(load("timm:test_resnet"), [LayerSpec(layer="layer2", pool="cls")])
    with pytest.raises(InvalidLayer, match="no tokens"):
        resolve_layers(vit, [LayerSpec(layer="penultimate", pool="cls")])


def test_networks_that_keep_channels_last_are_pooled_over_space():
    loaded = load("timm:test_mambaout", input_size=64)
    (layer,) = resolve_layers(loaded, [LayerSpec(layer="stages.0")])
    assert (layer.pool, layer.width) == ("avg_nhwc", 16)


def test_what_follows_in_place_does_not_reach_the_record(toys):
    loaded = load_model(toys("Plain"))
    x, (got, after) = record(loaded, [LayerSpec(layer="norm", pool="flatten"), LayerSpec(layer="act", pool="flatten")])
    with torch.inference_mode():
        expected = loaded.module.norm(loaded.module.conv(x)).flatten(1)
    assert expected.min() < 0  # else the ReLU would have nothing to overwrite
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    torch.testing.assert_close(after, expected.relu(), rtol=0, atol=0)


def test_globs_stay_inside_a_segment_and_keep_module_order():
    loaded = load("timm:test_vit")
    names = [r.name for r in resolve_layers(loaded, [LayerSpec(layer="blocks.*")])]
    assert names == [f"blocks.{i}" for i in range(len(loaded.module.blocks))]
    names = [r.name for r in resolve_layers(loaded, [LayerSpec(layer="blocks.[01].mlp.fc?"), LayerSpec()])]
    assert names == ["blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "blocks.1.mlp.fc1", "blocks.1.mlp.fc2", "penultimate"]


def test_widths_are_those_of_a_real_pass():
    loaded = load("timm:test_efficientnet", input_size=64)
    layers = [LayerSpec(layer="blocks.*"), LayerSpec(layer="conv_head", pool="flatten"), LayerSpec()]
    _, outputs = record(loaded, layers)
    assert list(layer_widths(loaded, layers).values()) == [o.shape[1] for o in outputs]


@pytest.mark.parametrize(
    "toy, layer, error, match",
    [
        ("SharedRelu", "act", InvalidLayer, "'act' runs 2 times"),
        ("SharedRelu", "*", InvalidLayer, "'act' runs 2 times"),
        ("WithPair", "pair", InvalidLayer, "is a tuple, expected a tensor"),
        ("WithPair", "idle", InvalidLayer, "does not run"),
        ("WithPair", "idl*", InvalidLayer, "none of them runs"),
        ("WithPair", "fold", InvalidLayer, "first dimension must stay the sample"),
        ("Plain", "norn", UnknownName, "Did you mean 'norm'"),
        ("Plain", "penultimat", UnknownName, "Did you mean 'penultimate'"),
        ("Plain", "norn.*", UnknownName, "no layer that matches 'norn"),
    ],
)
def test_layers_that_can_not_be_recorded(toys, toy, layer, error, match):
    with pytest.raises(error, match=match):
        resolve_layers(load_model(toys(toy)), [LayerSpec(layer=layer)], where="model 'm'")


def test_an_input_the_network_does_not_take():
    with pytest.raises(InvalidLayer, match=r"can't run on an input of shape .*img_size"):
        resolve_layers(load("timm:vit_tiny_patch16_224", input_size=96), PENULTIMATE)


def test_no_hook_is_left_behind(toys):
    loaded = load_model(toys("Plain"))
    record(loaded, [LayerSpec(layer="*"), LayerSpec()])
    for module in loaded.module.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_a_silent_layer_is_noticed_when_taking(toys):
    loaded = load_model(toys("Plain"))
    recorder = Recorder(loaded.module, resolve_layers(loaded, PENULTIMATE))
    with recorder, pytest.raises(InvalidLayer, match="did not run"):
        recorder.take()


def test_the_models_own_head_is_not_penultimate():
    widths = layer_widths(load("torchvision:resnet18", input_size=64), [LayerSpec(layer="fc"), LayerSpec()])
    assert widths == {"fc": 1000, "penultimate": 512}
    assert isinstance(torchvision.models.resnet18().fc, torch.nn.Linear)


def test_the_stages_of_a_resnet50_have_the_widths_of_the_paper():
    spec = ModelSpec(name="resnet50", source="timm:resnet50", weights="random:0")
    loaded = load_model(spec)
    before = {k: v.clone() for k, v in loaded.module.named_buffers()}
    layers = resolve_layers(loaded, [LayerSpec(layer="layer*.*.act3", pool="flatten"), LayerSpec(layer="global_pool")])
    stages = {1: (3, 802_816), 2: (4, 401_408), 3: (6, 200_704), 4: (3, 100_352)}
    expected = [(f"layer{s}.{i}.act3", width) for s, (n, width) in stages.items() for i in range(n)]
    assert [(layer.name, layer.width) for layer in layers] == [*expected, ("global_pool", 2048)]
    assert sum(layer.width for layer in layers) == 5_521_408
    # Only what is small enough is stored whole, and finding all that out moves no running statistic.
    assert [layer.keep for layer in layers] == ["subsets"] * 16 + ["whole"]
    after = dict(loaded.module.named_buffers())
    assert all(torch.equal(after[k], v) for k, v in before.items())
