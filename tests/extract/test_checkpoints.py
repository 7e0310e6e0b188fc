"""Layouts of checkpoints, on networks small enough to write by hand, and files that are none of them."""

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from extract import ModelSpec, WeightsMismatch, WeightsUnreadable, load_model
from extract._checkpoint_pickle import LeftOut, load
from extract._weights import state_digest
from extract.checkpoints import read_checkpoint
from extract.errors import UntrustedWeights

BOTH = pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "legacy"])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=7).eval()


@pytest.fixture
def state(network):
    return dict(network.state_dict())


def small(weights, **settings):
    wanted = {"name": "m", "source": "timm:test_resnet", "arguments": {"num_classes": 7}, "weights": str(weights)}
    return load_model(ModelSpec(**(wanted | settings)))


def robustness(state, inner="model.", outer="module."):
    mean, std = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.25)
    names = {f"{outer}normalizer.new_mean": mean, f"{outer}normalizer.new_std": std}
    names |= {f"{outer}{inner}{k}": v for k, v in state.items()}
    names |= {f"{outer}attacker.normalize.new_mean": mean, f"{outer}attacker.normalize.new_std": std}
    return names | {f"{outer}attacker.{inner}{k}": v for k, v in state.items()}


@pytest.mark.parametrize("key", ["model", "state_dict"])  # the library's older versions wrote state_dict
@pytest.mark.parametrize("inner", ["model.", "model.model."])
@pytest.mark.parametrize("outer", ["module.", ""])
def test_robustness(state, network, tmp_path, key, inner, outer):
    torch.save({key: robustness(state, inner, outer), "epoch": 3, "prec1": np.float64(0.5)}, tmp_path / "w.ckpt")
    read = read_checkpoint(tmp_path / "w.ckpt", expected=network.state_dict())
    assert read.format == "robustness"
    assert state_digest(read.state) == state_digest(state)
    assert (read.mean, read.std) == ((0.5,) * 3, (0.25,) * 3)
    assert "of the training run in the file, the network under `model.` was taken" in read.notes


def test_an_attacker_s_copy_that_differs_is_not_dropped(state, network, tmp_path):
    names = robustness(state)
    names["module.attacker.model.fc.bias"] = state["fc.bias"] + 1
    torch.save({"model": names}, tmp_path / "w.ckpt")
    with pytest.raises(WeightsUnreadable, match=r"two networks that differ.*'fc\.bias'"):
        read_checkpoint(tmp_path / "w.ckpt", expected=network.state_dict())


def test_what_a_layout_does_not_explain_is_left_for_strict_loading(state, tmp_path):
    torch.save({"model": robustness(state) | {"module.projector.weight": torch.zeros(2)}}, tmp_path / "w.ckpt")
    with pytest.raises(WeightsMismatch, match=r"unexpected in the file \(1\):\n    projector.weight"):
        small(tmp_path / "w.ckpt")


def test_two_parts_of_one_name_are_not_mixed(state, network, tmp_path):
    content = lightning(state)
    content["state_dict"]["fc.bias"] = state["fc.bias"] + 1
    torch.save(content, tmp_path / "w.ckpt")
    with pytest.raises(WeightsUnreadable, match=r"'fc\.bias' both as it is and under model\."):
        read_checkpoint(tmp_path / "w.ckpt", expected=network.state_dict())
    content["state_dict"] = {k.replace("model.", "net."): v for k, v in lightning(state)["state_dict"].items()}
    torch.save(content, tmp_path / "w.ckpt")
    with pytest.raises(WeightsMismatch, match=r"begins with 'net\.'"):
        small(tmp_path / "w.ckpt")


def lightning(state, prefix="model."):
    names = {f"{prefix}{k}": v for k, v in state.items()}
    names |= {"normalizer.new_mean": torch.zeros(3, 1, 1), "normalizer.new_std": torch.ones(3, 1, 1)}
    return {"state_dict": names, "pytorch-lightning_version": "1.5.10", "hyper_parameters": {"lr": 0.1}, "epoch": 48}


@pytest.mark.parametrize("prefix", ["model.", "model.model.", "model.module."])
def test_lightning(state, network, tmp_path, prefix):
    torch.save(lightning(state, prefix), tmp_path / "w.ckpt")
    read = read_checkpoint(tmp_path / "w.ckpt", expected=network.state_dict())
    assert read.format == "lightning"
    assert state_digest(read.state) == state_digest(state)


def test_a_normaliser_that_is_not_the_study_s_is_told(state, tmp_path):
    torch.save({"model": robustness(state)}, tmp_path / "w.ckpt")
    loaded = small(tmp_path / "w.ckpt", mean=(0.5,) * 3, std=(0.5,) * 3)
    (note,) = [n for n in loaded.notes if "the file of weights says" in n]
    assert "mean (0.5, 0.5, 0.5) and std (0.5, 0.5, 0.5)" in note
    assert "mean (0.5, 0.5, 0.5) and std (0.25, 0.25, 0.25)" in note
    same = small(tmp_path / "w.ckpt", mean=(0.5,) * 3, std=(0.25,) * 3)
    assert not any("says" in n for n in same.notes)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
@pytest.mark.parametrize("trust", ["tensors", "pickle"])
def test_numpy_s_numbers_are_no_objects(state, network, tmp_path, module, trust):
    numbers = [np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(1)]
    torch.save({"model": state, "best": numbers}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "w.pt").read_bytes()
    assert b"numpy._core.multiarray" in whole
    (tmp_path / "w.pt").write_bytes(whole.replace(b"numpy._core.multiarray", module))  # numpy 1 called it core
    read = read_checkpoint(tmp_path / "w.pt", expected=network.state_dict(), trust=trust)
    assert state_digest(read.state) == state_digest(state)


NAMES = st.lists(
    st.from_regex(r"[a-z]{1,4}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True), min_size=1, max_size=5, unique=True
)


@given(names=NAMES, shells=st.lists(st.sampled_from(["module.", "model.", "_orig_mod."]), max_size=3))
def test_wrappers_come_off_and_nothing_else(tmp_path_factory, names, shells):
    state = {f"net{i}.{n}": torch.full((2,), float(i)) for i, n in enumerate(names)}
    path = tmp_path_factory.getbasetemp() / "wrapped.pt"
    torch.save({"".join(shells) + k: v for k, v in state.items()}, path)
    read = read_checkpoint(path, expected=state)
    assert list(read.state) == list(state)
    assert all(torch.equal(read.state[k], v) for k, v in state.items())
    assert bool(read.notes) == bool(shells)


def test_a_network_whose_own_names_look_like_a_wrapper_keeps_them(tmp_path):
    state = {"model.weight": torch.ones(2), "model.bias": torch.ones(2)}
    save_file(state, tmp_path / "w.safetensors")
    assert set(read_checkpoint(tmp_path / "w.safetensors", expected=state).state) == set(state)


def test_a_file_from_before_batches_were_counted(state, network, tmp_path):
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    loaded = small(tmp_path / "old.pth")
    assert state_digest(loaded.module.state_dict()) == state_digest(state)  # fresh counters are 0 too
    assert any("batch counters" in n for n in loaded.notes)
    del old["bn1.running_var" if "bn1.running_var" in old else next(k for k in old if k.endswith("running_var"))]
    torch.save(old, tmp_path / "broken.pth")
    with pytest.raises(WeightsMismatch, match=r"missing from the file \(1\)"):
        small(tmp_path / "broken.pth")


def test_one_missing_counter_is_a_missing_name(state, tmp_path):
    state.pop(next(k for k in state if k.endswith("num_batches_tracked")))
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsMismatch, match="num_batches_tracked"):
        small(tmp_path / "w.safetensors")


def test_vgg_is_turned_only_for_timm(tmp_path):
    theirs = {"features.0.weight": torch.rand(2, 3, 3, 3), "classifier.0.weight": torch.rand(5, 2 * 7 * 7)}
    theirs |= {"classifier.0.bias": torch.rand(5), "classifier.3.weight": torch.rand(5, 5)}
    theirs |= {"classifier.6.weight": torch.rand(4, 5), "classifier.6.bias": torch.rand(4)}
    ours = {"features.0.weight": torch.zeros(2, 3, 3, 3), "pre_logits.fc1.weight": torch.zeros(5, 2, 7, 7)}
    ours |= {"pre_logits.fc1.bias": torch.zeros(5), "pre_logits.fc2.weight": torch.zeros(5, 5, 1, 1)}
    ours |= {"head.fc.weight": torch.zeros(4, 5), "head.fc.bias": torch.zeros(4)}
    save_file(theirs, tmp_path / "vgg.safetensors")
    read = read_checkpoint(tmp_path / "vgg.safetensors", expected=ours).state
    assert {k: v.shape for k, v in read.items()} == {k: v.shape for k, v in ours.items()}
    x = torch.rand(1, 2, 7, 7)
    linear = x.flatten(1) @ theirs["classifier.0.weight"].T
    convolved = torch.nn.functional.conv2d(x, read["pre_logits.fc1.weight"]).flatten(1)
    torch.testing.assert_close(convolved, linear, rtol=1e-5, atol=1e-6)
    assert set(read_checkpoint(tmp_path / "vgg.safetensors", expected=theirs).state) == set(theirs)


def jax_arrays(seed=0, width=64, depth=2, heads=2, classes=7, patch=16, tokens=101):
    """Arrays of a small vision transformer under the names and in the shapes of JAX."""
    random = np.random.default_rng(seed)
    shapes = {"cls": (1, 1, width), "embedding/kernel": (patch, patch, 3, width), "embedding/bias": (width,)}
    shapes["Transformer/posembed_input/pos_embedding"] = (1, tokens, width)
    shapes |= {"head/kernel": (width, classes), "head/bias": (classes,)}
    norms = ["Transformer/encoder_norm"]
    for i in range(depth):
        block = f"Transformer/encoderblock_{i}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        norms += [f"{block}/LayerNorm_0", f"{block}/LayerNorm_2"]
        for part in ("query", "key", "value"):
            shapes[f"{attention}/{part}/kernel"] = (width, heads, width // heads)
            shapes[f"{attention}/{part}/bias"] = (heads, width // heads)
        shapes |= {f"{attention}/out/kernel": (heads, width // heads, width), f"{attention}/out/bias": (width,)}
        mlp = f"{block}/MlpBlock_3/Dense"
        shapes |= {f"{mlp}_0/kernel": (width, 3 * width), f"{mlp}_0/bias": (3 * width,)}
        shapes |= {f"{mlp}_1/kernel": (3 * width, width), f"{mlp}_1/bias": (width,)}
    shapes |= {f"{n}/{leaf}": (width,) for n in norms for leaf in ("scale", "bias")}
    return {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def tiny_vit():
    return timm.models.VisionTransformer(
        img_size=160, patch_size=16, embed_dim=64, depth=2, num_heads=2, mlp_ratio=3, num_classes=7
    )


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_augreg_is_read_as_timm_reads_it(tmp_path, prefix):
    np.savez(tmp_path / "vit.npz", **{prefix + k: v for k, v in jax_arrays().items()})
    theirs = tiny_vit()
    theirs.load_pretrained(str(tmp_path / "vit.npz"), prefix)
    expected = theirs.state_dict()
    read = read_checkpoint(tmp_path / "vit.npz", expected=expected)
    assert read.format == "augreg"
    assert set(read.state) == set(expected)
    assert state_digest(read.state) == state_digest(expected)
    assert not any(torch.equal(v, tiny_vit().state_dict()[k]) for k, v in expected.items())


def test_augreg_with_more_or_less_than_the_network(tmp_path):
    from extract._weights import load_strictly

    def refusal(arrays):
        np.savez(tmp_path / "vit.npz", **arrays)
        network = tiny_vit()
        read = read_checkpoint(tmp_path / "vit.npz", expected=network.state_dict())
        with pytest.raises(WeightsMismatch, match="don't fit") as caught:
            load_strictly(network, read.state, where="here")
        return str(caught.value)

    assert "pre_logits/kernel" in refusal(jax_arrays() | {"pre_logits/kernel": np.zeros((64, 64), np.float32)})
    assert "Transformer/encoderblock_5/LayerNorm_7/scale" in refusal(
        jax_arrays() | {"Transformer/encoderblock_5/LayerNorm_7/scale": np.zeros(64, np.float32)}
    )
    arrays = jax_arrays()
    del arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/key/bias"]
    assert "blocks.1.attn.qkv.bias" in refusal(arrays)
    assert "pos_embed: (1, 197, 64) in the file" in refusal(jax_arrays(tokens=197))


def test_npz_files_that_are_no_vision_transformer(tmp_path):
    def refused(match):
        with pytest.raises(WeightsUnreadable, match=match):
            read_checkpoint(tmp_path / "w.npz", expected={})

    np.savez(tmp_path / "w.npz", weight=np.zeros(3))
    refused("no array embedding/kernel, but 'weight'")
    np.savez(tmp_path / "w.npz", **{"embedding/kernel": np.array([{"a": 1}], dtype=object)})
    refused("not a readable npz file of arrays .*allow_pickle")
    np.savez(tmp_path / "w.npz", **(jax_arrays() | {"cls": np.zeros(3, dtype="V2")}))
    refused("arrays of another type")
    (tmp_path / "w.npz").write_text("text")
    refused("not a readable npz file")
    np.savez(tmp_path / "w.npz", **jax_arrays())
    whole = (tmp_path / "w.npz").read_bytes()
    (tmp_path / "w.npz").write_bytes(whole[: len(whole) // 2])
    refused("Download it again")


class Payload:
    """Unpickled the usual way, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@BOTH
def test_code_in_a_file_is_never_run(state, tmp_path, as_zip):
    made, path = tmp_path / "made", tmp_path / "w.ckpt"
    torch.save({"model": robustness(state), "args": Payload(made)}, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(UntrustedWeights, match=r"can run code.*trust: pickle") as caught:
        small(path)
    assert "mkdir" in str(caught.value)
    assert not made.exists()
    loaded = small(path, trust="pickle")
    assert state_digest(loaded.module.state_dict()) == state_digest(state)
    assert not made.exists()
    torch.load(path, weights_only=False)  # the payload is a real one
    assert made.is_dir()


@BOTH
def test_code_among_the_tensors_is_no_state_dict(state, tmp_path, as_zip):
    made, path = tmp_path / "made", tmp_path / "w.ckpt"
    torch.save(state | {"fc.bias": Payload(made)}, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(WeightsUnreadable, match="holds no state dict"):
        small(path, trust="pickle")
    torch.save(Payload(made), path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(WeightsUnreadable, match="holds no state dict"):
        small(path, trust="pickle")
    assert not made.exists()


def library():
    """Classes of a library that is gone when the file is read, one for each way in which a pickle fills an object."""
    module = types.ModuleType("vanished")

    def new(cls, *args):
        return object.__new__(cls)

    def reduced():
        return module.make, (1, "two")

    module.make = lambda *args: None
    module.make.__module__, module.make.__qualname__ = "vanished", "make"
    for name, base, body in (
        ("Plain", object, {}),
        ("Slotted", object, {"__slots__": ("a",)}),
        ("Dict", dict, {}),
        ("List", list, {}),
        ("Set", set, {}),
        ("New", object, {"__new__": new, "__getnewargs__": lambda self: (1, 2)}),
        ("Reduced", object, {"__reduce__": lambda self: reduced()}),
        ("Error", ValueError, {}),
    ):
        setattr(module, name, type(name, (base,), {"__module__": "vanished", "__qualname__": name, **body}))
    return module


@BOTH
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's own, of what torch itself does not write
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_objects_of_any_make_are_left_out(state, network, tmp_path, as_zip, protocol):
    module = library()
    sys.modules["vanished"] = module
    try:
        plain, slotted = module.Plain(), module.Slotted()
        plain.x, slotted.a = {"deep": [module.Plain()]}, 1
        things = [plain, slotted, module.Dict(a=1, b=plain), module.List([1, plain]), module.Set([1]), module.New()]
        things += [module.Reduced(), module.Error("e"), module.Plain, np.float64(0.5), np.arange(3), Path("x")]
        content = {"state_dict": OrderedDict(state), "things": things, plain: 3, "epoch": 3, "size": torch.Size([2])}
        content |= {"dtype": torch.float16, "device": torch.device("cpu"), "set": {1}, "bytes": b"b", "c": 1j}
        torch.save(content, tmp_path / "w.ckpt", pickle_protocol=protocol, _use_new_zipfile_serialization=as_zip)
    finally:
        del sys.modules["vanished"]
    with pytest.raises(UntrustedWeights, match="trust: pickle"):
        read_checkpoint(tmp_path / "w.ckpt", expected=network.state_dict())
    read = read_checkpoint(tmp_path / "w.ckpt", expected=network.state_dict(), trust="pickle")
    assert state_digest(read.state) == state_digest(state)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    )
)
def test_plain_values_are_read_as_they_are(value):
    assert load(io.BytesIO(pickle.dumps(value))) == value


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.getattr", "torch.load", "torch.hub.load"])
def test_names_are_not_looked_up(name):
    module, _, attribute = name.rpartition(".")
    for opcodes in (f"c{module}\n{attribute}\n.", f"\x80\x04\x8c{chr(len(module))}{module}\x8c{chr(len(attribute))}"):
        code = opcodes.encode() if opcodes.endswith(".") else opcodes.encode("latin1") + attribute.encode() + b"\x93."
        assert load(io.BytesIO(code)) is LeftOut
    assert LeftOut(1, a=2) is LeftOut


def test_what_a_file_sets_on_a_function_stays_in_the_file(state, network, tmp_path):
    """A pickle may name a function and then give it attributes, here its default arguments."""
    before = torch._utils._rebuild_tensor_v2.__defaults__
    code = b"\x80\x04\x8c\x0ctorch._utils\x8c\x12_rebuild_tensor_v2\x93N}\x8c\x0c__defaults__K\x01\x85s\x86b."
    function = load(io.BytesIO(code))
    assert function.__defaults__ == (1,)  # the attack works, on a wrapper
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


def test_dotted_names_do_not_reach_into_torch():
    code = b"\x80\x04\x8c\x05torch\x8c\x1bstorage._load_from_bytesXXX\x93."
    assert load(io.BytesIO(code.replace(b"\x1b", bytes([27])))) is LeftOut
    assert load(io.BytesIO(b"\x80\x04\x8c\x05torch\x8c\x14storage.TypedStorage\x93.")) is LeftOut


@pytest.mark.parametrize("trust", ["tensors", "pickle"])
def test_damaged_files(state, network, tmp_path, trust):
    def refused(path, match):
        with pytest.raises(WeightsUnreadable, match=match):
            read_checkpoint(path, expected=network.state_dict(), trust=trust)

    for as_zip in (True, False):
        path = tmp_path / f"{as_zip}.pt"
        torch.save(state, path, _use_new_zipfile_serialization=as_zip)
        whole = path.read_bytes()
        for n in (0, 10, len(whole) // 2):
            path.write_bytes(whole[:n])
            refused(path, "is not a torch file that holds tensors")
    save_file(state, tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:-5])
    refused(tmp_path / "w.safetensors", "not a readable safetensors file")
    np.savez(tmp_path / "vit.npz", **jax_arrays())
    (tmp_path / "vit.npz").rename(tmp_path / "vit.pt")
    refused(tmp_path / "vit.pt", "is not a torch file")
    torch.save(state, tmp_path / "torch.npz")
    refused(tmp_path / "torch.npz", "npz")


@pytest.mark.parametrize("trust", ["tensors", "pickle"])
def test_a_torchscript_program_is_refused(tmp_path, trust):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/constants.pkl", pickle.dumps(()))
        archive.writestr("script/data.pkl", pickle.dumps({}))
        archive.writestr("script/version", "3\n")
    with pytest.raises(WeightsUnreadable, match="TorchScript program, which is code"):
        read_checkpoint(tmp_path / "script.pt", expected={}, trust=trust)
