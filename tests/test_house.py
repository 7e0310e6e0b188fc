"""The distribution: five packages, owned by nobody else, one version; layers; what the make targets are."""

import importlib.metadata
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import drfarm

ROOT = Path(__file__).parents[1]
PACKAGES = {"store", "extract", "probe", "aggregate", "drfarm"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if ".dist-info/" not in n]
    assert {n.split("/")[0] for n in names} == PACKAGES
    files = [p for d in PACKAGES for p in (ROOT / d).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {p.suffix for p in files} >= {".py", ".csv", ".json", ".js", ".css"}
    assert {p.relative_to(ROOT).as_posix() for p in files} <= set(names)
    assert {f"{d}/py.typed" for d in PACKAGES} <= set(names)
    assert wheel.name.startswith(f"drfarm-{drfarm.__version__}-")


def test_the_installed_wheel_is_sole_owner_of_its_names(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    owners = importlib.metadata.packages_distributions()
    for name in PACKAGES:
        assert set(owners.get(name, ["drfarm"])) == {"drfarm"}, name
    code = (
        "import sys, importlib.metadata as m; sys.path.insert(0, sys.argv[1]);"
        "import store, extract, probe, aggregate, drfarm;"
        "mods = (store, extract, probe, aggregate, drfarm);"
        "print(all(x.__file__.startswith(sys.argv[1]) for x in mods),"
        " {t for t in m.Distribution.at(next(__import__('pathlib').Path(sys.argv[1]).glob('*.dist-info')))"
        ".files if str(t).endswith('__init__.py')} and True)"
    )
    command = [sys.executable, "-P", "-c", code, str(tmp_path)]
    found = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["True", "True"]


def test_extras_are_those_of_the_contract():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == {"gpu", "s3", "slurm", "kubernetes", "notebook", "docs", "dev"}


def test_constraints_pin_exactly_and_name_no_host():
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all("==" in line for line in lines)
    assert not any("://" in line for line in lines)
    named = {line.split("==")[0].lower() for line in lines}
    assert {"uv", "torch", "torchvision", "timm", "zarr", "distributed", "duckdb", "ruff", "mypy", "pytest"} <= named


@pytest.mark.parametrize("target", ["demo", "test", "bench"])
def test_make_knows_what_the_readme_names(target):
    subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_ci_runs_the_readmes_test_command():
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "make test" in (ROOT / "README.md").read_text()
