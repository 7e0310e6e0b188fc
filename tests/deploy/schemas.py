"""Whether a manifest is one that a cluster takes: Kubernetes' own schemas, and those of the operator's resources."""

from pathlib import Path
from typing import Any

import jsonschema
import yaml
from kubernetes_validate import utils as kubernetes

VERSION = "1.33"
"""Of Kubernetes; its schemas come with the validator."""


def check(manifest: dict[str, Any]) -> None:
    """Raise if a cluster would refuse a manifest, or drop a key that it doesn't know."""
    kind = manifest["apiVersion"], manifest["kind"]
    if kind[0].startswith("kubernetes.dask.org/"):
        jsonschema.Draft202012Validator(_dask_schemas()[kind]).validate(manifest)
    else:
        kubernetes.validate(manifest, VERSION, strict=True)


_cached: dict[tuple[str, str], Any] = {}


def _dask_schemas() -> dict[tuple[str, str], Any]:
    if not _cached:
        from importlib.util import find_spec

        found = find_spec("dask_kubernetes")  # not imported: that writes into the home folder
        assert found is not None
        assert found.origin is not None
        folder = Path(found.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds"
        for file in folder.glob("*.yaml"):
            for definition in yaml.safe_load_all(file.read_text()):
                if definition and definition["kind"] == "CustomResourceDefinition":
                    _cached.update(_of(definition["spec"]))
    return _cached


def _of(spec: dict[str, Any]) -> dict[tuple[str, str], Any]:
    found = {}
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
        }
        found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def _strict(schema: Any) -> Any:
    """Return a schema that refuses unknown keys, in the words of JSON schema instead of OpenAPI's."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    new = {key: _strict(value) for key, value in schema.items()}
    closed = new.get("type") == "object" and "properties" in new and "additionalProperties" not in new
    if closed and not new.get("x-kubernetes-preserve-unknown-fields"):
        new["additionalProperties"] = False
    if new.pop("x-kubernetes-int-or-string", False):
        new.pop("type", None)
    if new.pop("nullable", False) and "type" in new:
        new["type"] = [new["type"], "null"]
    return new
