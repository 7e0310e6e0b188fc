"""Names in a study file can't lead out of the store, and secrets in an address are not repeated anywhere."""

import pytest
import yaml

from store import InvalidRequest, open_store

SECRET = "hush-hush-7f3"
BAD = ["../outside", "/outside", "..", "a/../../outside", "a\\outside", "a\0b", "x" * 300, "", "-x", "a b", "~/x"]


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("what", ["study", "model", "dataset"])
def test_a_name_in_a_study_file_can_not_leave_the_store(drfarm, study_in, tmp_path, what, name):
    (tmp_path / "in").mkdir()
    changes = {"study": {"study": name}, "model": {"model": {"name": name}}, "dataset": {"dataset": {"name": name}}}
    file = study_in(tmp_path / "in", store="./store", **changes[what])
    assert yaml.safe_load(file.read_text())
    before = sorted(tmp_path.rglob("*"))
    done = drfarm("plan", file)
    assert done.code == 2
    assert "a name has 1 to 120 letters, digits and . _ + @ -" in done.err
    assert "Traceback" not in done.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", BAD)
def test_a_study_that_is_kept_can_not_leave_the_store(tmp_path, name):
    store = open_store(tmp_path / "store", create=True)
    before = sorted(tmp_path.rglob("*"))
    for act in (lambda: store.put_study(name, {}), lambda: store.drop_study(name)):
        with pytest.raises(InvalidRequest, match="a name has 1 to 120 letters"):
            act()
    assert sorted(tmp_path.rglob("*")) == before


COMMANDS = [
    ("plan", "{study}", "--store", "{url}"),
    ("run", "{study}", "--store", "{url}"),
    ("status", "{study}", "--store", "{url}"),
    ("query", "SELECT 1", "--store", "{url}"),
    ("store", "info", "--store", "{url}"),
    ("store", "verify", "--store", "{url}"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c[:2]))
@pytest.mark.parametrize("url", ["s3://KEY:{secret}@bucket/x", "s3://bucket/x?secret_access_key={secret}"])
def test_credentials_in_an_address_are_refused_and_not_repeated(drfarm, study_in, tmp_path, command, url):
    file = study_in(tmp_path)
    words = [w.format(study=file, url=url.format(secret=SECRET)) for w in command]
    done = drfarm(*words)
    assert done.code == 2
    assert "Credentials and the endpoint are read from the environment" in done.err
    assert SECRET not in done.text


def test_credentials_in_a_study_file_are_refused_and_not_repeated(drfarm, study_in, tmp_path):
    file = study_in(tmp_path, store=f"s3://KEY:{SECRET}@bucket/x")
    before = sorted(tmp_path.rglob("*"))
    for command in ("plan", "run", "status"):
        done = drfarm(command, file)
        assert done.code == 2
        assert "Credentials and the endpoint are read from the environment" in done.err
        assert SECRET not in done.text
    assert sorted(tmp_path.rglob("*")) == before


def test_the_login_of_an_endpoint_is_not_repeated(drfarm, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"ftp://user:{SECRET}@127.0.0.1:9")
    done = drfarm("store", "info", "--store", "s3://bucket/x")
    assert (done.code, SECRET in done.text) == (2, False)
    assert "127.0.0.1:9" in done.err
