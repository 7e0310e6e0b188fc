"""All networks of the zoo, from files as their publishers write them, against architectures that are built here."""

import contextlib
import os
import sys
import types

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch.nn import functional

from extract import LayerSpec, ModelSpec, load_model, resolve_layers
from extract.zoo import PAPER_NETWORKS, ZOO

SIDE = 64
"""Input side of convolutional networks here: enough for every stage, and fast."""
MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
NESTED = [2**i for i in range(3, 12)]


def lively(network, seed):
    """Fill batch statistics too: those of a fresh network hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))
        elif name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        elif name.endswith("num_batches_tracked"):
            value.fill_(seed + 1)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def reference():
    """Return a network of torchvision's or timm's by name, with random weights; the last one is kept."""
    built = {}

    def reference(name):
        if name not in built:
            built.clear()
            torch.manual_seed(len(name))
            if name.startswith("vit"):
                patch, classes = name.split("-")[1:]
                network = timm.create_model(f"vit_small_patch{patch}_224", num_classes=int(classes))
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.add_(0.05 * torch.randn_like(parameter))
            else:
                network = getattr(torchvision.models, name)(weights=None)
            built[name] = lively(network, len(name))
        return built[name]

    return reference


@contextlib.contextmanager
def parameters_of_cox():
    """A class of a library that is not installed: pickled by name, and gone when the file is read."""
    module = types.ModuleType("cox.utils")
    module.Parameters = type("Parameters", (), {"__module__": "cox.utils"})
    package = types.ModuleType("cox")
    package.utils = module
    sys.modules |= {"cox": package, "cox.utils": module}
    try:
        yield module.Parameters
    finally:
        del sys.modules["cox"], sys.modules["cox.utils"]


def save_robustness(state, path, *, inner):
    """Write what train_model of the robustness library writes, with its classes and numpy's numbers in it."""
    names = {"module.normalizer.new_mean": MEAN, "module.normalizer.new_std": STD}
    names |= {f"module.{inner}{k}": v for k, v in state.items()}
    names |= {"module.attacker.normalize.new_mean": MEAN, "module.attacker.normalize.new_std": STD}
    names |= {f"module.attacker.{inner}{k}": v for k, v in state.items()}
    with parameters_of_cox() as parameters:
        args = parameters()
        args.eps, args.constraint = 3.0, "2"
        content = {
            "model": names,
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
            "schedule": None,
            "epoch": 90,
            "amp": None,
            "nat_prec1": np.float64(62.83),
            "args": args,
        }
        torch.save(content, path, _use_new_zipfile_serialization=False)


def save_lightning(state, path):
    """Write what the trainer of PyTorch Lightning 1.5 writes of the authors' wrapper."""
    names = {f"model.{k}": v for k, v in state.items()} | {"normalizer.new_mean": MEAN, "normalizer.new_std": STD}
    content = {
        "epoch": 48,
        "global_step": 110_000,
        "pytorch-lightning_version": "1.5.10",
        "state_dict": names,
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(1.2)}},
        "optimizer_states": [{"state": {}, "param_groups": []}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.01, "dataset_name": "imagenet"},
    }
    torch.save(content, path)


def save_augreg(network, path):
    """Write a vision transformer's weights as Flax names and shapes them."""
    arrays = {}
    state = {k: v.numpy() for k, v in network.state_dict().items()}
    width = network.embed_dim
    heads = network.blocks[0].attn.num_heads
    arrays["cls"] = state["cls_token"]
    arrays["Transformer/posembed_input/pos_embedding"] = state["pos_embed"]
    arrays["embedding/kernel"] = np.einsum("oihw->hwio", state["patch_embed.proj.weight"])
    arrays["embedding/bias"] = state["patch_embed.proj.bias"]
    arrays["Transformer/encoder_norm/scale"] = state["norm.weight"]
    arrays["Transformer/encoder_norm/bias"] = state["norm.bias"]
    arrays["head/kernel"] = state["head.weight"].T
    arrays["head/bias"] = state["head.bias"]
    for i in range(len(network.blocks)):
        ours, flax = f"blocks.{i}.", f"Transformer/encoderblock_{i}/"
        for theirs, norm in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
            arrays[f"{flax}{theirs}/scale"] = state[f"{ours}{norm}.weight"]
            arrays[f"{flax}{theirs}/bias"] = state[f"{ours}{norm}.bias"]
        for j in (0, 1):
            arrays[f"{flax}MlpBlock_3/Dense_{j}/kernel"] = state[f"{ours}mlp.fc{j + 1}.weight"].T
            arrays[f"{flax}MlpBlock_3/Dense_{j}/bias"] = state[f"{ours}mlp.fc{j + 1}.bias"]
        attention = f"{flax}MultiHeadDotProductAttention_1/"
        for j, part in enumerate(("query", "key", "value")):
            rows = slice(j * width, (j + 1) * width)
            kernel = state[f"{ours}attn.qkv.weight"][rows].T
            arrays[f"{attention}{part}/kernel"] = kernel.reshape(width, heads, width // heads)
            arrays[f"{attention}{part}/bias"] = state[f"{ours}attn.qkv.bias"][rows].reshape(heads, width // heads)
        out = state[f"{ours}attn.proj.weight"].T
        arrays[f"{attention}out/kernel"] = out.reshape(heads, width // heads, width)
        arrays[f"{attention}out/bias"] = state[f"{ours}attn.proj.bias"]
    np.savez(path, **arrays)


def save_matryoshka(network, heads, path):
    """Write a ResNet50 of the Matryoshka release: DistributedDataParallel's names, filters of the blurred layers."""
    state = {}
    for name, value in network.state_dict().items():
        stage, _, rest = name.partition(".")
        if stage in ("layer2", "layer3", "layer4") and rest in ("0.conv2.weight", "0.downsample.0.weight"):
            name = name.removesuffix("weight")
            blur = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
            state[f"module.{name}blur_filter"] = blur.expand(value.shape[1], 1, 3, 3).clone()
            state[f"module.{name}conv.weight"] = value
        elif not name.startswith("fc."):
            state[f"module.{name}"] = value
    torch.save(state | {f"module.fc.{k}": v for k, v in heads.items()}, path)


def blurred_features(network, x):
    """Pool the features of a ResNet50 whose strided convolutions (but the stem) read a blurred input; by hand."""

    def conv(layer, x):
        if layer.stride[0] == 2:
            line = torch.tensor([0.25, 0.5, 0.25])
            channels = x.shape[1]
            x = functional.conv2d(
                x, line.reshape(1, 1, 3, 1).repeat(channels, 1, 1, 1), padding=(1, 0), groups=channels
            )
            x = functional.conv2d(
                x, line.reshape(1, 1, 1, 3).repeat(channels, 1, 1, 1), padding=(0, 1), groups=channels
            )
        return layer(x)

    x = network.maxpool(functional.relu(network.bn1(network.conv1(x))))
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            out = functional.relu(block.bn1(block.conv1(x)))
            out = functional.relu(block.bn2(conv(block.conv2, out)))
            out = block.bn3(block.conv3(out))
            short = x if block.downsample is None else block.downsample[1](conv(block.downsample[0], x))
            x = functional.relu(out + short)
    return x.mean(dim=(2, 3))


def features_of(network, x):
    """Return the penultimate layer of a reference network, shape (image, neuron)."""
    if isinstance(network, torchvision.models.ResNet):
        body = [m for n, m in network.named_children() if n != "fc"]
        return torch.nn.Sequential(*body)(x).flatten(1)
    if isinstance(network, torchvision.models.VGG):
        return network.classifier[:-1](network.avgpool(network.features(x)).flatten(1))
    return network.forward_features(x)[:, 0]


def penultimate(loaded, x):
    """Run a loaded network; return its penultimate layer as `extract` finds it, and its output."""
    (layer,) = resolve_layers(loaded, [LayerSpec()])
    seen = []
    module = loaded.module.get_submodule(layer.module)
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        output = loaded.module(x)
    hook.remove()
    assert layer.width == seen[0].shape[1]
    return seen[0], output


def agree(got, expected):
    assert got.shape == expected.shape
    assert expected.std() > 1e-4  # a network that is all zeros agrees with anything
    scale = expected.abs().max()
    torch.testing.assert_close(got / scale, expected / scale, rtol=0, atol=1e-5)


def images(side):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def load(name, folder, **settings):
    wanted = {
        "name": name,
        "source": f"zoo:{name}",
        "weights": "hub",
        "weights_folder": str(folder),
        "input_size": SIDE,
    }
    return load_model(ModelSpec(**(wanted | settings)))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", pytest.param("vgg16_bn", marks=pytest.mark.slow)])
def test_plain_files_of_the_libraries(name, reference, tmp_path):
    network = reference(name)
    state = network.state_dict()
    if name != "resnet50":  # torchvision wrote these before torch 0.4.1 counted batches
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    path = tmp_path / ZOO[name].file
    torch.save(state, path, _use_new_zipfile_serialization=name == "resnet50")
    loaded = load(name, tmp_path, weights=str(path))
    got, output = penultimate(loaded, images(SIDE))
    assert got.shape[1] == ZOO[name].width
    agree(got, features_of(network, images(SIDE)))
    agree(output, network(images(SIDE)))
    assert any("is not the file that the zoo names" in n for n in loaded.notes)
    path.unlink()


ROBUST = [n for n in ZOO if ZOO[n].format == "robustness" and "50_4" not in n]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if "vgg" in n else n for n in sorted(ROBUST)])
def test_files_of_the_robustness_library(name, reference, tmp_path):
    network = reference(name.partition("-")[0])
    # Networks that the library does not define itself are wrapped once more.
    save_robustness(
        network.state_dict(), tmp_path / ZOO[name].file, inner="model.model." if "vgg" in name else "model."
    )
    loaded = load(name, tmp_path, trust="pickle")
    got, output = penultimate(loaded, images(SIDE))
    assert got.shape[1] == ZOO[name].width
    agree(got, features_of(network, images(SIDE)))
    agree(output, network(images(SIDE)))
    assert not any("normalised" in n for n in loaded.notes)
    (tmp_path / ZOO[name].file).unlink()


@pytest.mark.parametrize("patch", [16, 32])
@pytest.mark.parametrize("upstream, classes", [("in1k", 1000), ("in21k", 21843)])
def test_vision_transformers_of_augreg(patch, upstream, classes, reference, tmp_path):
    name = f"vit_small_patch{patch}_224-{upstream}"
    network = reference(f"vit-{patch}-{classes}")
    save_augreg(network, tmp_path / ZOO[name].file)
    loaded = load(name, tmp_path, input_size=None)
    assert loaded.input_size == 224
    got, output = penultimate(loaded, images(224))
    assert got.shape[1] == 384
    agree(got, features_of(network, images(224)))
    agree(output, network(images(224)))
    assert loaded.mean == ((0.485, 0.456, 0.406) if upstream == "in1k" else (0.5,) * 3)
    assert any("trained with mean and std 0.5" in n for n in loaded.notes) == (upstream == "in1k")


@pytest.mark.parametrize("features", [8, 16, 32, 64, 128, 256, 512, 1024, 2048])
def test_fixed_feature_networks(features, reference, tmp_path):
    network = reference("resnet50")
    generator = torch.Generator().manual_seed(features)
    head = {"weight": torch.randn(1000, features, generator=generator), "bias": torch.randn(1000, generator=generator)}
    name = f"resnet50-ff{features}"
    save_matryoshka(network, head, tmp_path / ZOO[name].file)
    got, output = penultimate(load(name, tmp_path), images(SIDE))
    expected = blurred_features(network, images(SIDE))
    assert expected.shape[1] == 2048
    agree(got, expected[:, :features])
    agree(output, expected[:, :features] @ head["weight"].T + head["bias"])
    with pytest.raises(AssertionError):  # the blur is no detail
        agree(got, features_of(network, images(SIDE))[:, :features])
    (tmp_path / ZOO[name].file).unlink()


def test_the_matryoshka_network(reference, tmp_path):
    network = reference("resnet50")
    heads = {}
    for i, width in enumerate(NESTED):
        heads[f"nesting_classifier_{i}.weight"] = torch.randn(1000, width) / width**0.5
        heads[f"nesting_classifier_{i}.bias"] = torch.randn(1000)
    save_matryoshka(network, heads, tmp_path / "r50_mrl1_e0_ff2048.pt")
    loaded = load("resnet50-mrl", tmp_path)
    got, output = penultimate(loaded, images(SIDE))
    expected = blurred_features(network, images(SIDE))
    agree(got, expected)
    agree(output, expected @ heads["nesting_classifier_8.weight"].T + heads["nesting_classifier_8.bias"])
    state = loaded.module.state_dict()
    assert all(torch.equal(state[f"fc.{k}"], v) for k, v in heads.items())


@pytest.fixture(scope="module")
def lightning_file(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("lightning") / "file.ckpt"
    save_lightning(reference("resnet50").state_dict(), path)
    return path


@pytest.mark.parametrize("name", [n for n in ZOO if ZOO[n].format == "lightning"])
def test_the_authors_own_networks(name, lightning_file, reference, tmp_path):
    where = ZOO[name].file if name == "resnet50-dropout0.1" else ZOO[name].aliases[0]
    (tmp_path / where).parent.mkdir(exist_ok=True)
    os.link(lightning_file, tmp_path / where)
    loaded = load(name, tmp_path)
    got, _ = penultimate(loaded, images(SIDE))
    assert got.shape[1] == 2048
    agree(got, features_of(reference("resnet50"), images(SIDE)))


def test_the_widest_network_is_torchvisions_with_wider_groups():
    with torch.device("meta"):
        ours = timm.create_model("wide_resnet50_2", **ZOO["wide_resnet50_4"].arguments)
        block = torchvision.models.resnet.Bottleneck
        theirs = torchvision.models.ResNet(block, [3, 4, 6, 3], width_per_group=256)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


def test_every_network_of_the_paper_is_loaded_here():
    names = {"resnet18", "resnet50", "vgg16_bn", "resnet50-mrl", *ROBUST}
    names |= {f"vit_small_patch{p}_224-{u}" for p in (16, 32) for u in ("in1k", "in21k")}
    names |= {f"resnet50-ff{n}" for n in NESTED} | {n for n in ZOO if ZOO[n].format == "lightning"}
    assert set(PAPER_NETWORKS) <= names
