import pytest
import torch
from safetensors.torch import save_file

from extract import WeightsMismatch, WeightsUnreadable, load_model
from extract._weights import state_digest
from extract.checkpoints import read_checkpoint
from extract.errors import InvalidModel, UntrustedWeights
from store import InvalidRequest


@pytest.fixture
def state(toys):
    return dict(load_model(toys("Plain")).module.state_dict())


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_a_file_gives_back_what_was_saved(toys, state, tmp_path, wrap):
    file = tmp_path / "weights.pt"
    torch.save(state if wrap is None else {wrap: state, "epoch": 3}, file)
    assert state_digest(read_checkpoint(file, expected=state).state) == state_digest(state)
    loaded = load_model(toys("Plain", weights=str(file)))
    assert state_digest(loaded.module.state_dict()) == state_digest(state)


def test_digests_tell_files_values_and_names_apart(toys, state, tmp_path):
    save_file(state, tmp_path / "a.safetensors")
    a = load_model(toys("Plain", weights=str(tmp_path / "a.safetensors"))).weights
    state["fc.bias"] = state["fc.bias"] + 1
    save_file(state, tmp_path / "b.safetensors")
    b = load_model(toys("Plain", weights=str(tmp_path / "b.safetensors"))).weights
    assert a != b
    assert load_model(toys("Plain")).weights == load_model(toys("Plain")).weights
    assert load_model(toys("Plain")).weights != load_model(toys("Plain", weights="random:1")).weights
    assert state_digest({"a": torch.zeros(2, 3)}) != state_digest({"a": torch.zeros(3, 2)})
    assert state_digest({"a": torch.zeros(2)}) != state_digest({"b": torch.zeros(2)})
    assert state_digest({"a": torch.zeros(())}) != state_digest({"a": torch.ones((), dtype=torch.bfloat16)})


def test_random_weights_leave_the_callers_generator_alone(toys):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(toys("Plain"))
    assert torch.equal(torch.rand(3), expected)


def refusal(toys, tmp_path, state, **settings):
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsMismatch, match="don't fit the architecture") as caught:
        load_model(toys("Plain", weights=str(tmp_path / "w.safetensors"), **settings))
    return str(caught.value)


def test_a_mismatch_lists_names_and_shapes(toys, state, tmp_path):
    state["extra"] = torch.zeros(2)
    state["conv.bias"] = torch.zeros(5)
    del state["norm.weight"]
    message = refusal(toys, tmp_path, state)
    assert "missing from the file (1):\n    norm.weight" in message
    assert "unexpected in the file (1):\n    extra" in message
    assert "conv.bias: (5) in the file, (6) in the model" in message
    assert "w.safetensors" in message


def test_a_mismatch_shows_the_first_ten(toys, state, tmp_path):
    message = refusal(toys, tmp_path, state | {f"extra{i:02d}": torch.zeros(1) for i in range(25)})
    assert "unexpected in the file (25):" in message
    assert "extra09\n    ... and 15 more" in message
    assert "extra10" not in message


def test_hints(toys, state, tmp_path):
    assert "begins with 'backbone.'" in refusal(toys, tmp_path, {f"backbone.{k}": v for k, v in state.items()})
    assert "num_classes: 3" in refusal(toys, tmp_path, state, arguments={"num_classes": 7})
    bodiless = {k: v for k, v in state.items() if not k.startswith("fc")}
    assert "num_classes: 0" in refusal(toys, tmp_path, bodiless)


def test_the_prefix_of_a_wrapper_comes_off_and_is_told(toys, state, tmp_path):
    save_file({f"module.{k}": v for k, v in state.items()}, tmp_path / "w.safetensors")
    loaded = load_model(toys("Plain", weights=str(tmp_path / "w.safetensors")))
    assert state_digest(loaded.module.state_dict()) == state_digest(state)
    assert loaded.notes == ("model 'Plain': the prefix 'module.' was taken off every name in the file.",)


def test_files_that_hold_no_weights(toys, tmp_path):
    with pytest.raises(WeightsUnreadable, match=r"there is no file .*absent\.pt"):
        load_model(toys("Plain", weights=str(tmp_path / "absent.pt")))
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(WeightsUnreadable, match=r"text\.pt is not a torch file"):
        load_model(toys("Plain", weights=str(tmp_path / "text.pt")))
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(WeightsUnreadable, match="not a readable safetensors file"):
        load_model(toys("Plain", weights=str(tmp_path / "text.safetensors")))
    torch.save({"epoch": 3, "state_dict": 4}, tmp_path / "empty.pt")
    with pytest.raises(WeightsUnreadable, match="has keys 'epoch', 'state_dict'"):
        load_model(toys("Plain", weights=str(tmp_path / "empty.pt")))
    with pytest.raises(WeightsUnreadable, match="can't be read"):
        load_model(toys("Plain", weights=str(tmp_path)))


def test_a_file_that_would_run_code_is_not_run(toys, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")  # a whole module: unpickling it runs code
    with pytest.raises(UntrustedWeights, match="Save the state dict alone"):
        load_model(toys("Plain", weights=str(tmp_path / "module.pt")))
    with pytest.raises(WeightsUnreadable, match="holds no state dict"):
        load_model(toys("Plain", weights=str(tmp_path / "module.pt"), trust="pickle"))


def test_requests_that_make_no_sense(toys):
    with pytest.raises(InvalidRequest, match="random:SEED"):
        load_model(toys("Plain", weights="random:x"))
    with pytest.raises(InvalidModel, match="no hub"):
        load_model(toys("Plain", weights="hub"))
