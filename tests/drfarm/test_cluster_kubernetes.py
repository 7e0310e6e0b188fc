"""Resources of the Dask operator, against its schemas; their life, on an API server that is an object of the test."""

import importlib.util
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes_validate import utils as kubernetes_schemas

from drfarm.errors import FarmFailed
from drfarm.farm.clusters import _kubernetes as kubernetes
from drfarm.farm.clusters import load_settings
from drfarm.farm.clusters._manifests import dask_cluster, scheduler_address, worker_group
from store import InvalidRequest

KUBERNETES: dict[str, Any] = {
    "cluster": "kubernetes",
    "image": "registry.example.org/drfarm:1",
    "gpu": {"n_jobs": 2, "gpus": 1, "cores": 8, "memory": "16GiB"},
    "cpu": {"n_jobs": 3, "cores": 4, "memory": "10GiB"},
}


def written(folder: Path, base: dict[str, Any], **changes: Any) -> Path:
    """Write settings; a change of a pool is merged into it, and None takes a key out."""
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = {**base[key], **value} if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in merged.items() if v is not None}))
    return file


def _installed(package: str) -> Path:
    """Return a package's folder; importing this one would write into a person's settings."""
    found = importlib.util.find_spec(package)
    assert found is not None
    return Path(found.submodule_search_locations[0])


def strict(schema: Any) -> Any:
    """Return an operator's schema in which a key that it does not know is an error."""
    if isinstance(schema, list):
        return [strict(x) for x in schema]
    if not isinstance(schema, dict):
        return schema
    found = {k: strict(v) for k, v in schema.items()}
    free = found.get("x-kubernetes-preserve-unknown-fields")
    if found.get("type") == "object" and "properties" in found and "additionalProperties" not in found and not free:
        found["additionalProperties"] = False
    if found.pop("x-kubernetes-int-or-string", False):
        found.pop("type", None)
    if found.pop("nullable", False) and "type" in found:
        found["type"] = [found["type"], "null"]
    return found


@pytest.fixture(scope="module")
def operator_schemas():
    folder = _installed("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"
    schemas = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the other takes half a minute
    for name in ("daskcluster", "daskworkergroup"):
        for found in yaml.load_all((folder / f"{name}.yaml").read_text(), loader):
            for version in (found or {}).get("spec", {}).get("versions", ()):
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
                schemas[found["spec"]["names"]["kind"]] = schema
    return schemas


def kubernetes_settings(folder: Path, **changes: Any):
    return load_settings("kubernetes", written(folder, KUBERNETES, **changes))


MANY = {
    "namespace": "lab",
    "service_account": "drfarm",
    "secrets": ["drfarm-s3"],
    "volumes": [{"claim": "store", "path": "/store"}, {"claim": "images", "path": "/images", "read_only": True}],
    "environment": {"HF_HUB_OFFLINE": "1"},
    "tls_secret": "drfarm-tls",
}


@pytest.mark.parametrize("changes", [{}, MANY])
def test_resources_are_what_the_operator_takes(tmp_path, operator_schemas, changes):
    tolerations = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}
    pool = {**tolerations, "node_selector": {"pool": "a"}} if changes else {}
    settings = kubernetes_settings(tmp_path, **changes, gpu=pool)
    cluster = dask_cluster(settings, "drfarm-1", insecure=not changes)
    groups = [worker_group(settings, "drfarm-1", gpu=gpu, n_pods=3, insecure=not changes) for gpu in (True, False)]
    for resource in (cluster, *groups):
        jsonschema.Draft202012Validator(operator_schemas[resource["kind"]]).validate(resource)
    # The pods are checked as pods too: the operator's schema lets some of what they say through.
    for spec in (cluster["spec"]["scheduler"]["spec"], *(g["spec"]["worker"]["spec"] for g in groups)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
        kubernetes_schemas.validate(pod, "1.33", strict=True)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}
    kubernetes_schemas.validate({**service, "spec": cluster["spec"]["scheduler"]["service"]}, "1.33", strict=True)


def test_a_misspelt_resource_is_refused(tmp_path, operator_schemas):
    group = worker_group(kubernetes_settings(tmp_path), "x", gpu=True, n_pods=1)
    group["spec"]["worker"]["replica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        jsonschema.Draft202012Validator(operator_schemas["DaskWorkerGroup"]).validate(group)


def container(resource: dict[str, Any]) -> dict[str, Any]:
    return resource["spec"]["worker"]["spec"]["containers"][0]


def test_groups_say_what_their_pods_are(tmp_path):
    settings = kubernetes_settings(tmp_path, **MANY)
    gpu, cpu = (worker_group(settings, "drfarm-1", gpu=g, n_pods=3) for g in (True, False))
    address = "tls://drfarm-1-scheduler.lab:8786"
    assert scheduler_address(settings, "drfarm-1") == address
    assert container(gpu)["args"] == ["worker", address, "--gpu", "--tls", "/etc/drfarm/tls"]
    limit = str(int(10 * 2**30 * 0.9 / 4)) + "B"
    assert container(cpu)["args"][2:6] == ["--workers", "4", "--memory-limit", limit]
    assert container(gpu)["resources"]["limits"] == {"cpu": "8", "memory": "16384Mi", "nvidia.com/gpu": "1"}
    assert "nvidia.com/gpu" not in container(cpu)["resources"]["limits"]
    assert container(cpu)["envFrom"] == [{"secretRef": {"name": "drfarm-s3"}}]
    assert (gpu["spec"]["cluster"], gpu["spec"]["worker"]["replicas"]) == ("drfarm-1", 3)
    scheduler = dask_cluster(settings, "drfarm-1")["spec"]["scheduler"]["spec"]
    assert "--tls" in scheduler["containers"][0]["args"]
    assert scheduler["volumes"][-1]["name"] == "tls"  # the scheduler does not see the store
    assert scheduler["securityContext"]["runAsNonRoot"]


def test_connections_on_kubernetes_are_encrypted_or_it_is_said(tmp_path):
    plain = kubernetes_settings(tmp_path)
    with pytest.raises(InvalidRequest, match="--insecure"):
        kubernetes.check_kubernetes(plain, tls=None, insecure=False)
    kubernetes.check_kubernetes(plain, tls=None, insecure=True)
    with pytest.raises(InvalidRequest, match=r"tls_secret: drfarm-tls.*say --tls FOLDER"):
        kubernetes.check_kubernetes(kubernetes_settings(tmp_path, **MANY), tls=None, insecure=True)


class FakeApi:
    """An API server in memory: no real one can run here."""

    def __init__(self, *, phase: str | None = "Running", refuses: str | None = None) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.sizes: list[int] = []
        self._phase, self._refuses = phase, refuses

    def create(self, resource: dict[str, Any]) -> None:
        if resource["kind"] == self._refuses:
            raise kubernetes.KubernetesRefused("the API server: status 403: forbidden")
        self.there[resource["metadata"]["name"]] = resource

    def phase(self, resource: dict[str, Any]) -> str | None:
        assert resource["metadata"]["name"] in self.there
        return self._phase

    def scale(self, resource: dict[str, Any], n_pods: int) -> None:
        assert resource["metadata"]["name"] in self.there
        self.sizes.append(n_pods)

    def delete(self, resource: dict[str, Any]) -> None:
        self.there.pop(resource["metadata"]["name"], None)


@pytest.fixture(scope="module")
def running_scheduler():
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=0, host="127.0.0.1", dashboard_address=":0", scheduler_kwargs={"dashboard": False}
    ) as c:
        yield c.scheduler_address


def test_a_cluster_is_made_scaled_and_deleted(tmp_path, running_scheduler):
    api = FakeApi()
    settings = kubernetes_settings(tmp_path, address=running_scheduler)
    with kubernetes.kubernetes_pool(settings, gpu=True, n_jobs=2, tls=None, insecure=False, api=api) as (joined, pool):
        assert joined.address == running_scheduler
        kinds = {r["kind"]: r for r in api.there.values()}
        assert set(kinds) == {"DaskCluster", "DaskWorkerGroup"}
        assert kinds["DaskWorkerGroup"]["spec"]["cluster"] == kinds["DaskCluster"]["metadata"]["name"]
        assert (pool.n_jobs, pool.starting) == (2, True)
        pool.want(2)
        pool.want(5)
        pool.release(set(), fewest=1)
        assert api.sizes == [5, 1]
    assert api.there == {}


@pytest.mark.parametrize(
    ("api", "error", "message"),
    [
        (FakeApi(refuses="DaskWorkerGroup"), InvalidRequest, "would not make the cluster drfarm-cpu-.*status 403"),
        (FakeApi(phase=None), FarmFailed, "the operator says nothing: is it installed"),
        (FakeApi(phase="Pending"), FarmFailed, r"not there after 0 s \(the operator says 'Pending'\)"),
    ],
)
def test_a_cluster_that_does_not_come_about_is_told_and_deleted(tmp_path, api, error, message):
    settings = kubernetes_settings(tmp_path)
    pool = kubernetes.kubernetes_pool(settings, gpu=False, n_jobs=1, tls=None, insecure=True, api=api, ready_s=0.1)
    with pytest.raises(error, match=message), pool:
        raise AssertionError("it must not be entered")
    assert api.there == {}
