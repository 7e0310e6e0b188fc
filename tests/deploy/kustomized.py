"""A small stand-in for `kubectl kustomize`: resolves the few things that `deploy/kubernetes` uses, and refuses others.

It knows resources, components, a namespace, config maps from files and literals (names without a hash), images, and
patches by JSON 6902 (`add` only) on one target by kind and name. Where kubectl is installed a test holds it against the
real one.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

KNOWN = {
    "apiVersion",
    "kind",
    "namespace",
    "resources",
    "components",
    "configMapGenerator",
    "generatorOptions",
    "images",
    "patches",
}
Manifest = dict[str, Any]


def documents(file: Path) -> list[Manifest]:
    """Return the documents of a file."""
    return [d for d in yaml.safe_load_all(file.read_text()) if d]


def build(folder: Path, given: list[Manifest] | None = None, more: Sequence[str] = ()) -> list[Manifest]:
    """Return the manifests of a folder with a kustomization.

    A component is applied to the manifests that are given; ``more`` are components beside those that the folder names.
    """
    told = yaml.safe_load((folder / "kustomization.yaml").read_text())
    unknown = set(told) - KNOWN
    assert not unknown, f"{folder}: this stand-in knows no {unknown}"
    assert told.get("generatorOptions", {"disableNameSuffixHash": True}) == {"disableNameSuffixHash": True}
    made = copy.deepcopy(given or [])
    for name in told.get("resources", ()):
        path = folder / name
        made += build(path) if path.is_dir() else documents(path)
    for one in told.get("configMapGenerator", ()):
        made.append(_config_map(folder, one))
    for name in (*told.get("components", ()), *more):
        made = build(folder / name, made)
    for patch in told.get("patches", ()):
        _patch(made, patch)
    for manifest in made:
        if "namespace" in told and manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = told["namespace"]
        for container in containers(manifest):
            _pin(container, told.get("images", ()))
    return made


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the one manifest of a kind and name."""
    (found,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def containers(node: Any) -> list[Manifest]:
    """Return all containers anywhere in a manifest."""
    found: list[Manifest] = []
    if isinstance(node, list):
        for item in node:
            found += containers(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            found += value if key in {"containers", "initContainers"} else containers(value)
    return found


def _config_map(folder: Path, told: Manifest) -> Manifest:
    data = dict(line.split("=", 1) for line in told.get("literals", ()))
    data |= {name: (folder / name).read_text() for name in told.get("files", ())}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": told["name"]}, "data": data}


def _patch(made: list[Manifest], told: Manifest) -> None:
    target = named(made, told["target"]["kind"], told["target"]["name"])
    for operation in yaml.safe_load(told["patch"]):
        assert operation["op"] == "add", operation
        *way, last = operation["path"].strip("/").split("/")
        node = target
        for step in way:
            node = node[int(step) if isinstance(node, list) else step]
        if isinstance(node, list):
            assert last == "-", operation
            node.append(operation["value"])
        else:
            node[last] = operation["value"]


def _pin(container: Manifest, images: list[Manifest]) -> None:
    for image in images:
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"
