import pytest
import timm
import torch
import torchvision

from extract import InvalidModel, ModelSpec, WeightsUnreadable, load_model
from store import UnknownName


def spec(source, **settings):
    return ModelSpec(**({"name": "m", "source": source, "weights": "random:0"} | settings))


def test_timm_says_what_its_input_is():
    loaded = load_model(spec("timm:test_vit"))
    assert (loaded.input_size, loaded.mean, loaded.std) == (160, (0.5,) * 3, (0.5,) * 3)
    assert load_model(spec("timm:test_vit", arguments={"img_size": 64})).input_size == 64
    grey = load_model(spec("timm:test_resnet", arguments={"in_chans": 1}, mean=(0.5,), std=(0.2,)))
    assert grey.input_shape == (1, 160, 160)


def test_torchvision_says_what_its_input_is():
    loaded = load_model(spec("torchvision:mobilenet_v3_small"))
    assert (loaded.input_size, loaded.mean, loaded.std) == (224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_study_goes_first():
    loaded = load_model(spec("timm:test_vit", input_size=160, mean=(0, 0, 0), std=(1, 1, 1)))
    assert (loaded.input_size, loaded.mean, loaded.std) == (160, (0.0,) * 3, (1.0,) * 3)


def test_the_model_is_the_library_s_own_in_eval_mode():
    loaded = load_model(spec("timm:test_resnet", weights="random:7", arguments={"num_classes": 5}))
    torch.manual_seed(7)
    own = timm.create_model("test_resnet", num_classes=5)
    for name, value in own.state_dict().items():
        assert torch.equal(loaded.module.state_dict()[name], value)
    assert not any(m.training for m in loaded.module.modules())
    assert not any(p.requires_grad for p in loaded.module.parameters())


def test_hub_asks_timm_for_its_pretrained_weights(tmp_path):
    # timm takes the file in place of a download where the configuration names one: the call is the real one.
    own = timm.create_model("test_resnet")
    torch.save(own.state_dict(), tmp_path / "w.pth")
    arguments = {"pretrained_cfg_overlay": {"file": str(tmp_path / "w.pth")}}
    loaded = load_model(spec("timm:test_resnet", weights="hub", arguments=arguments))
    assert torch.equal(loaded.module.fc.weight, own.fc.weight)


def test_hub_asks_torchvision_for_its_default_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    own = torchvision.models.squeezenet1_1()
    cached = tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    torch.save(own.state_dict(), cached)
    loaded = load_model(spec("torchvision:squeezenet1_1", weights="hub"))
    assert torch.equal(loaded.module.state_dict()["classifier.1.bias"], own.state_dict()["classifier.1.bias"])


def test_a_hub_without_weights_is_never_random_ones():
    for name in ("mixer_s32_224", "cspresnet50d"):
        with pytest.raises(WeightsUnreadable, match=name):
            load_model(spec(f"timm:{name}", weights="hub"))


def test_a_hub_that_is_out_of_reach_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(WeightsUnreadable, match="download the file elsewhere and give its path"):
        load_model(spec("torchvision:squeezenet1_1", weights="hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnreadable, match="timm:test_resnet could not be had"):
        load_model(spec("timm:test_resnet", weights="hub"))


@pytest.mark.parametrize(
    "source, match",
    [
        ("timm:resnet51", "no timm model 'resnet51'. Did you mean 'resnet5"),
        ("timm:resnet50.a1_in1kk", "no tag of timm model resnet50 'a1_in1kk'. Did you mean 'a1_in1k'"),
        ("torchvision:resnet19", "Did you mean 'resnet1"),
        ("python:toy_networks:Plane", "Did you mean 'Plain'"),
    ],
)
def test_unknown_names_come_with_the_nearest(toys, source, match):
    with pytest.raises(UnknownName, match=match):
        load_model(spec(source))


def test_models_that_can_not_be_built(toys):
    with pytest.raises(InvalidModel, match=r"no_such_module.*PYTHONPATH"):
        load_model(spec("python:no_such_module:f"))
    with pytest.raises(InvalidModel, match=r"must return a torch.nn.Module, got int"):
        load_model(spec("python:toy_networks:not_a_network"))
    with pytest.raises(InvalidModel, match="expected something to call"):
        load_model(spec("python:toy_networks:NOT_CALLABLE"))
    with pytest.raises(InvalidModel, match="no_such_argument"):
        load_model(spec("timm:test_resnet", arguments={"no_such_argument": 1}))
    with pytest.raises(InvalidModel, match="`weights` says which weights"):
        load_model(spec("timm:test_resnet", arguments={"pretrained": True}))


def test_an_input_that_nobody_knows_must_come_from_the_study(toys):
    with pytest.raises(InvalidModel, match="give input_size, mean, std in the study"):
        load_model(toys("Plain", input_size=None, mean=None, std=None))
    with pytest.raises(InvalidModel, match="give input_size in the study"):
        load_model(toys("Plain", input_size=None))
    with pytest.raises(InvalidModel, match="in_chans: 1, but mean and std have 3"):
        load_model(spec("timm:test_resnet", arguments={"in_chans": 1}, mean=(0, 0, 0), std=(1, 1, 1)))
    with pytest.raises(InvalidModel, match="in_chans: 4, but mean and std have 3"):
        load_model(spec("timm:test_resnet", arguments={"in_chans": 4}))


def test_a_normalisation_that_is_not_the_weights_own_is_told(tmp_path):
    own = timm.create_model("test_vit")
    torch.save(own.state_dict(), tmp_path / "w.pt")
    half, other = (0.5,) * 3, (0.25,) * 3

    def notes(source, **settings):
        return load_model(spec(source, **({"weights": str(tmp_path / "w.pt")} | settings))).notes

    (note,) = notes("timm:test_vit.r160_in1k", mean=half, std=other)
    assert "mean (0.5, 0.5, 0.5) and std (0.25, 0.25, 0.25), as the study says" in note
    assert "test_vit.r160_in1k was trained with mean (0.5, 0.5, 0.5) and std (0.5, 0.5, 0.5)" in note
    assert notes("timm:test_vit.r160_in1k", mean=half, std=half) == ()
    assert notes("timm:test_vit.r160_in1k") == ()
    assert notes("timm:test_vit", mean=half, std=other) == ()  # whose weights these are, nobody says
    assert notes("timm:test_vit.r160_in1k", mean=half, std=other, weights="random:0") == ()


def test_a_hub_s_normalisation_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), cached)
    loaded = load_model(spec("torchvision:squeezenet1_1", weights="hub", mean=(0.5,) * 3, std=(0.5,) * 3))
    assert any("squeezenet1_1 was trained with mean (0.485, 0.456, 0.406)" in n for n in loaded.notes)


def test_the_zoo_s_own_normalisation_is_a_choice(tmp_path):
    def notes(**settings):
        return "\n".join(load_model(spec("zoo:vit_small_patch32_224-in1k", **settings)).notes)

    assert notes() == ""  # random weights were trained with nothing
    network = timm.create_model("vit_small_patch32_224", num_classes=1000)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    assert "trained with mean and std 0.5" in notes(weights=str(tmp_path / "w.pt"))
    own = notes(weights=str(tmp_path / "w.pt"), mean=(0.5,) * 3, std=(0.5,) * 3)
    assert "normalised with mean (0.5, 0.5, 0.5) and std (0.5, 0.5, 0.5); the paper used mean (0.485" in own
    assert "trained with" not in own
