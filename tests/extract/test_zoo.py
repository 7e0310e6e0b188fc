import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import extract.zoo
from extract import InvalidModel, ModelSpec, WeightsUnreadable, load_model
from extract.models import weights_path
from extract.zoo import PAPER_NETWORKS, ZOO, find_weights, how_to_get, weights_folder, zoo_network
from store import UnknownName

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def spec(name, **settings):
    return ModelSpec(**({"name": "m", "source": f"zoo:{name}", "weights": "hub"} | settings))


def test_the_paper_has_thirty_one():
    assert len(PAPER_NETWORKS) == len(set(PAPER_NETWORKS)) == 31
    assert list(ZOO)[:31] == list(PAPER_NETWORKS)
    assert all(n.name == name for name, n in ZOO.items())
    widths = [ZOO[n].width for n in PAPER_NETWORKS]
    # 2 ResNet18, 4 ViT, 2 VGG16; ff8 to ff1024; all others are 2048 wide.
    assert sorted(widths) == sorted([512] * 2 + [384] * 4 + [4096] * 2 + [2**i for i in range(3, 11)] + [2048] * 15)


def test_every_record_is_whole():
    files = [f for n in ZOO.values() for f in (n.file, *n.aliases)]
    assert len(files) == len(set(files))
    for network in ZOO.values():
        assert (network.top1 is None) == (network.top1_by is None)
        assert network.top1 is None or 0.5 < network.top1 < 0.9
        assert (network.trained_mean is None) == (network.trained_std is None)
        assert network.url is None or re.match(r"https://\S+$", network.url)
        assert network.sha256 is None or network.sha256 in network.file
        assert network.file in how_to_get(network)
        assert all(note.endswith(".") for note in network.notes)


def test_accuracies_are_those_of_the_paper():
    paper = {"resnet18": 69.23, "resnet50": 80.07, "wide_resnet50_2": 77.00, "vgg16_bn": 73.36}
    paper |= {"vit_small_patch16_224-in1k": 64.82, "vit_small_patch32_224-in1k": 55.73}
    for name, top1 in paper.items():
        assert 100 * ZOO[name].top1 == pytest.approx(top1, abs=0.011)
        assert ZOO[name].top1_by == "authors"


def test_unknown_networks_come_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no zoo network 'resnet18-l2-eps4'\. Did you mean 'resnet18-l2-eps3'"):
        zoo_network("resnet18-l2-eps4")
    with pytest.raises(
        UnknownName, match=r"model 'm': there is no zoo network 'resnet50-ff9'\. Did you mean 'resnet50-ff"
    ):
        load_model(spec("resnet50-ff9"))
    with pytest.raises(UnknownName, match="model 'm': there is no zoo network 'resnet50-ff9'"):
        load_model(spec("resnet50-ff9", weights="random:0"))


def test_the_folder_is_the_study_s_then_the_environment_s(monkeypatch, tmp_path):
    monkeypatch.setenv("DRFARM_WEIGHTS", str(tmp_path / "a"))
    assert weights_folder() == tmp_path / "a"
    assert weights_folder(str(tmp_path / "b")) == tmp_path / "b"
    monkeypatch.delenv("DRFARM_WEIGHTS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_folder() == tmp_path / ".cache" / "drfarm" / "weights"
    assert weights_folder("~/w") == tmp_path / "w"


def test_a_file_is_found_under_any_of_its_names(tmp_path):
    network = ZOO["resnet50-linf-eps4"]
    assert find_weights(network, str(tmp_path)) is None
    other = tmp_path / network.aliases[0]
    other.parent.mkdir(parents=True)
    other.touch()
    assert find_weights(network, str(tmp_path)) == other
    (tmp_path / network.file).touch()
    assert find_weights(network, str(tmp_path)) == tmp_path / network.file
    assert weights_path(spec("resnet50-linf-eps4", weights_folder=str(tmp_path))) == tmp_path / network.file
    assert weights_path(spec("resnet50-linf-eps4", weights="random:0")) is None
    assert weights_path(spec("resnet50-linf-eps4", weights="w.pt")) == Path("w.pt")


def test_a_missing_file_says_where_to_get_it(tmp_path):
    def refusal(name):
        with pytest.raises(
            WeightsUnreadable, match=f"^model 'm': weights: the file of zoo:{name} is not there"
        ) as caught:
            load_model(spec(name, weights_folder=str(tmp_path)))
        return str(caught.value)

    text = refusal("resnet18")
    assert "Get https://download.pytorch.org/models/resnet18-5c106cde.pth" in text
    assert f"put it at {tmp_path / 'resnet18-5c106cde.pth'}" in text
    assert "$DRFARM_WEIGHTS" in text
    assert "Get r50_mrl0_e0_ff8.pt from the list at https://" in refusal("resnet50-ff8")
    text = refusal("resnet50-dropout0.3")
    assert "not published" in text
    assert "ask the paper's authors" in text


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A zoo with one small network in it, whose file has the published hash; returns the file."""
    torch.manual_seed(0)
    loaded = load_model(ModelSpec(name="m", source="timm:test_resnet", weights="random:3"))
    save_file(loaded.module.state_dict(), tmp_path / "small.safetensors")
    digest = hashlib.sha256((tmp_path / "small.safetensors").read_bytes()).hexdigest()
    record = replace(
        ZOO["resnet18"], name="small", architecture="timm:test_resnet", file="small.safetensors", sha256=digest[:8]
    )
    record = replace(record, arguments={"num_classes": 1000}, notes=("Small.",), input_size=96)
    monkeypatch.setattr(extract.zoo, "ZOO", {"small": record})
    return tmp_path / "small.safetensors"


def test_the_published_file_is_loaded(small):
    loaded = load_model(spec("small", weights_folder=str(small.parent)))
    assert loaded.weights == hashlib.sha256(small.read_bytes()).hexdigest()
    assert loaded.notes == ("model 'm': Small.",)
    assert (loaded.input_size, loaded.mean, loaded.std) == (96, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_another_file_is_refused_but_as_a_path(small):
    state = load_model(ModelSpec(name="m", source="timm:test_resnet", weights="random:4")).module.state_dict()
    save_file(state, small)
    digest = hashlib.sha256(small.read_bytes()).hexdigest()
    with pytest.raises(WeightsUnreadable, match=f"not the published file: expected a sha256 .* got {digest[:12]}"):
        load_model(spec("small", weights_folder=str(small.parent)))
    loaded = load_model(spec("small", weights=str(small)))
    assert any("is not the file that the zoo names for small" in n for n in loaded.notes)


def test_a_file_of_another_layout_is_refused_but_as_a_path(small, monkeypatch):
    monkeypatch.setattr(extract.zoo, "ZOO", {"small": replace(extract.zoo.ZOO["small"], format="robustness")})
    with pytest.raises(WeightsUnreadable, match="expected robustness, got state dict"):
        load_model(spec("small", weights_folder=str(small.parent)))
    assert load_model(spec("small", weights=str(small))).input_size == 96


def test_arguments_come_on_top_and_change_nothing(small):
    with pytest.raises(InvalidModel, match="is the network with num_classes: 1000, and args can't change that"):
        load_model(spec("small", weights="random:0", arguments={"num_classes": 5}))
    loaded = load_model(spec("small", weights="random:0", arguments={"drop_rate": 0.5}))
    assert loaded.module.drop_rate == 0.5
    with pytest.raises(InvalidModel, match="blurred"):
        load_model(spec("small", weights="random:0", arguments={"blurred": True}))


def test_random_weights_need_no_file_and_no_notes():
    a, b = (load_model(spec("resnet18", weights="random:1")) for _ in range(2))
    assert a.weights == b.weights
    assert a.notes == ()
    assert a.input_size == 224


def test_the_guide_has_the_table(tmp_path):
    from drfarm._show_zoo import models_markdown

    assert models_markdown() in DOCS.read_text()
    assert all(f"`{name}`" in models_markdown() for name in ZOO)


def test_the_command_s_table(tmp_path):
    from drfarm._show_zoo import models_text

    (tmp_path / "r50_mrl0_e0_ff8.pt").touch()
    text = models_text(str(tmp_path))
    rows = {line.split()[0]: line for line in text.splitlines() if line}
    assert set(ZOO) <= set(rows)
    assert rows["resnet50-ff8"].split()[-2:] == ["present", "r50_mrl0_e0_ff8.pt"]
    assert rows["resnet50"].split()[-4:] == ["80.07", "authors", "missing", "resnet50_a1_0-14fe96d1.pth"]
    assert f"1 of {len(ZOO)} files are in {tmp_path}" in text


def test_the_table_needs_no_torch():
    code = "import sys; from drfarm._show_zoo import models_text; models_text(None); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
