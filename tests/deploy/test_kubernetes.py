"""The Kubernetes manifests: a cluster and the operator take them, nothing in them has more rights than it needs."""

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kustomized import build, containers, named
from schemas import check

from drfarm import __version__
from drfarm._cli_options import EXIT_FAILED, EXIT_WRONG
from drfarm.study import study_from_dict

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
OVERLAYS = ["pvc", "s3"]
SCHEMA_ERRORS = "not of type|Additional properties|is a required property|does not match|is not valid"

# The operator's own code says what pods become of the custom resources. Its import writes to DASK_CONFIG, hence the
# process of its own.
_OPERATOR = """
import json, sys
from dask_kubernetes.operator.controller import controller

def deployment(told, name, parent):
    labels = parent["metadata"]["labels"] | told["metadata"]["labels"]
    return controller.build_worker_deployment_spec(name, "drfarm", "farm", "0", told["spec"], {}, labels)


def all_of(cluster, group):
    told = cluster["spec"]["scheduler"]
    labels = cluster["metadata"]["labels"] | told["metadata"]["labels"]
    return [
        controller.build_scheduler_deployment_spec("farm", told["spec"], {}, dict(labels)),
        controller.build_scheduler_service_spec("farm", told["service"], {}, dict(labels)),
        deployment(cluster["spec"]["worker"], "farm-default", cluster),
        deployment(group["spec"]["worker"], group["metadata"]["name"], group),
    ]


json.dump({name: all_of(*told) for name, told in json.load(sys.stdin).items()}, sys.stdout)
"""


def with_metrics(overlay):
    """Return the manifests of an overlay that takes the metrics in."""
    return build(KUBERNETES / "overlays" / overlay, more=["../../components/metrics"])


def everything():
    """Return each variant's manifests under its name."""
    found = {overlay: build(KUBERNETES / "overlays" / overlay) for overlay in OVERLAYS}
    return found | {f"{overlay}+metrics": with_metrics(overlay) for overlay in OVERLAYS}


VARIANTS = everything()


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request):
    """Give a variant's manifests."""
    return VARIANTS[request.param]


@pytest.fixture(scope="module")
def made_by_operator(tmp_path_factory):
    """Make what the operator makes of each variant's two custom resources."""
    folder = tmp_path_factory.mktemp("dask")
    told = {
        name: [named(VARIANTS[name], "DaskCluster", "farm"), named(VARIANTS[name], "DaskWorkerGroup", "farm-gpu")]
        for name in OVERLAYS  # the metrics change nothing of these
    }
    done = subprocess.run(
        [sys.executable, "-c", _OPERATOR],
        input=json.dumps(told),
        env={"PATH": "/usr/bin:/bin", "DASK_CONFIG": str(folder), "HOME": str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def pod_specs(node):
    """Return every pod's specification in a manifest."""
    found = []
    if isinstance(node, list):
        for item in node:
            found += pod_specs(item)
    elif isinstance(node, dict):
        if "containers" in node:
            found.append(node)
        for value in node.values():
            found += pod_specs(value)
    return found


def pods(manifests, operators):
    """Return (labels, specification) of every pod that there will be."""
    templates = [m["spec"]["template"] for m in [*manifests, *operators] if m["kind"] in {"Job", "Deployment"}]
    templates += [m["spec"]["jobTemplate"]["spec"]["template"] for m in manifests if m["kind"] == "CronJob"]
    return [(t["metadata"]["labels"], t["spec"]) for t in templates]


def test_a_cluster_takes_every_manifest(variant):
    kinds = sorted(m["kind"] for m in variant)
    assert {"DaskCluster", "DaskWorkerGroup", "Job", "CronJob", "Namespace", "ServiceAccount"} <= set(kinds)
    for manifest in variant:
        check(manifest)


def test_a_cluster_takes_what_the_operator_makes(made_by_operator):
    for made in made_by_operator.values():
        assert sorted(m["kind"] for m in made) == ["Deployment", "Deployment", "Deployment", "Service"]
        for manifest in made:
            check(manifest)


@pytest.mark.parametrize(
    ("kind", "name", "change"),
    [
        ("DaskCluster", "farm", lambda m: m["spec"]["worker"].update(replica=3)),
        ("DaskCluster", "farm", lambda m: m["spec"]["scheduler"]["spec"]["containers"][0].pop("name")),
        ("DaskWorkerGroup", "farm-gpu", lambda m: m["spec"]["worker"].update(replicas="many")),
        ("Job", "drfarm-run", lambda m: m["spec"]["template"]["spec"]["containers"][0].update(prots=[])),
        ("Job", "drfarm-run", lambda m: m["spec"].update(backoffLimit="six")),
        ("NetworkPolicy", "farm", lambda m: m["spec"].update(ingres=[])),
    ],
)
def test_the_schemas_refuse_what_is_wrong(kind, name, change):
    wrong = copy.deepcopy(named(VARIANTS["pvc"], kind, name))
    change(wrong)
    with pytest.raises(Exception, match=SCHEMA_ERRORS):
        check(wrong)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", VARIANTS)
def test_kubectl_makes_the_same_of_it(overlay, tmp_path):
    folder = KUBERNETES / "overlays" / overlay
    if overlay.endswith("+metrics"):
        shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
        folder = tmp_path / "kubernetes" / "overlays" / overlay.removesuffix("+metrics")
        with (folder / "kustomization.yaml").open("a") as file:
            file.write("components: [../../components/metrics]\n")
    done = subprocess.run(["kubectl", "kustomize", folder], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    def in_order(manifests):
        return sorted(manifests, key=lambda m: (m["kind"], m["metadata"]["name"]))

    assert in_order(yaml.safe_load_all(done.stdout)) == in_order(VARIANTS[overlay])


def test_every_file_is_named_and_every_name_is_a_file():
    folders = [p.parent for p in KUBERNETES.rglob("kustomization.yaml")]
    assert len(folders) == 4
    for folder in folders:
        told = yaml.safe_load((folder / "kustomization.yaml").read_text())
        files = {name for name in told["resources"] if name.endswith(".yaml")}
        files |= {name for one in told.get("configMapGenerator", ()) for name in one.get("files", ())}
        assert files | {"kustomization.yaml"} == {p.name for p in folder.iterdir() if p.is_file()}
        for name in set(told["resources"]) - files:
            assert (folder / name / "kustomization.yaml").is_file(), name
    assert {p for p in KUBERNETES.rglob("*") if p.is_file()} == {f for d in folders for f in d.iterdir() if f.is_file()}


def test_every_file_says_what_it_is():
    for file in KUBERNETES.rglob("*.yaml"):
        assert file.read_text().startswith("# "), file


def test_images_are_pinned_to_this_version(variant):
    images = {c["image"] for m in variant for c in containers(m)}
    assert images == {f"registry.example.org/drfarm:{__version__}-{target}" for target in ("cpu", "cuda")}


def test_only_workers_with_a_gpu_ask_for_one_and_have_the_cuda_image(variant):
    for manifest in variant:
        for container in containers(manifest):
            gpu = "nvidia.com/gpu" in container["resources"]["limits"]
            assert gpu == ("--gpu" in container["args"]) == container["image"].endswith("-cuda")


def test_nothing_runs_with_rights(variant):
    specs = [spec for m in variant for spec in pod_specs(m)]
    assert len(specs) == 5  # scheduler, two groups of workers, driver, verify
    for spec in specs:
        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] == "drfarm"
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert not any("hostPath" in v for v in spec["volumes"])
        for container in spec["containers"]:
            inner = container["securityContext"]
            assert inner["allowPrivilegeEscalation"] is False
            assert inner["readOnlyRootFilesystem"] is True
            assert inner["capabilities"] == {"drop": ["ALL"]}
            assert "/tmp" in {v["mountPath"] for v in container["volumeMounts"]}
    assert not [m for m in variant if m["kind"] in {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}]
    labels = named(variant, "Namespace", "drfarm")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_volumes_that_are_mounted_are_there(variant):
    claims = {m["metadata"]["name"] for m in variant if m["kind"] == "PersistentVolumeClaim"}
    maps = {m["metadata"]["name"] for m in variant if m["kind"] == "ConfigMap"}
    for spec in (spec for m in variant for spec in pod_specs(m)):
        volumes = {v["name"]: v for v in spec["volumes"]}
        mounted = {v["name"] for c in spec["containers"] for v in c["volumeMounts"]}
        assert mounted == set(volumes)
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
        for container in spec["containers"]:
            for source in container.get("envFrom", ()):
                assert source.get("secretRef", {}).get("name") == "drfarm-s3" or source["configMapRef"]["name"] in maps


def test_whoever_reads_or_writes_the_store_reaches_it():
    for overlay in OVERLAYS:
        manifests = VARIANTS[overlay]
        where = named(manifests, "ConfigMap", "drfarm-store")["data"]["DRFARM_STORE"]
        for spec in (spec for m in manifests for spec in pod_specs(m)):
            (container,) = spec["containers"]
            if container["args"][0] == "scheduler":
                continue
            if overlay == "pvc":
                assert where in {v["mountPath"] for v in container["volumeMounts"]}
            else:
                assert where.startswith("s3://")
                assert {"secretRef": {"name": "drfarm-s3"}} in container["envFrom"]


def test_secrets_are_only_referred_to(variant):
    assert not [m for m in variant if m["kind"] == "Secret"]
    for manifest in variant:
        for container in containers(manifest):
            for variable in container.get("env", ()):
                assert not re.search("KEY|SECRET|TOKEN|PASSWORD", variable["name"]), variable
        for name, value in manifest.get("data", {}).items():
            assert not re.search("KEY|SECRET|TOKEN|PASSWORD", name), name
            assert "://" not in value or "@" not in value
    keys = {v["secret"]["secretName"] for m in variant for s in pod_specs(m) for v in s["volumes"] if "secret" in v}
    assert keys == {f"drfarm-tls-{role}" for role in ("scheduler", "worker", "client")}


def test_each_role_has_only_its_own_certificate(variant):
    roles = {"scheduler": "scheduler", "worker": "worker", "run": "client"}
    n = 0
    for spec in (spec for m in variant for spec in pod_specs(m)):
        (container,) = spec["containers"]
        secrets = [v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v]
        command = container["args"][0]
        assert secrets == ([f"drfarm-tls-{roles[command]}"] if command in roles else [])
        n += len(secrets)
    assert n == 4


def _selects(selector, labels):
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_pods_of_the_farm_reach_each_other(overlay, made_by_operator):
    manifests = VARIANTS[f"{overlay}+metrics"]
    policies = [m["spec"] for m in manifests if m["kind"] == "NetworkPolicy"]
    nobody = named(manifests, "NetworkPolicy", "nobody")["spec"]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    farm = {"matchLabels": {"app.kubernetes.io/part-of": "drfarm"}}
    found = pods(manifests, made_by_operator[overlay])
    components = {labels["app.kubernetes.io/component"] for labels, _ in found}
    assert components == {"scheduler", "cpu-worker", "gpu-worker", "driver", "verify"}
    for labels, _ in found:
        assert _selects(farm, labels)
        peers = []
        for policy in policies:
            if _selects(policy["podSelector"], labels):
                for rule in policy.get("ingress", ()):
                    peers += rule["from"]
                    open_ports = [p["port"] for p in rule.get("ports", ())]
                    assert rule["from"] == [{"podSelector": farm}] or open_ports == [9108]
        expected = [{"podSelector": farm}]
        if labels["app.kubernetes.io/component"] == "driver":
            expected.append({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}})
        assert peers == expected
    out = [rule for policy in policies for rule in policy.get("egress", ())]
    ports = sorted(p["port"] for rule in out for p in rule.get("ports", ()))
    assert ports == ([53, 53, 443] if overlay == "s3" else [53, 53])


def test_the_scheduler_is_found_under_the_name_that_all_use(variant, made_by_operator):
    for made in made_by_operator.values():
        (service,) = [m for m in made if m["kind"] == "Service"]
        assert service["metadata"]["name"] == "farm-scheduler"
        (scheduler,) = [m for m in made if m["metadata"]["name"] == "farm-scheduler" and m["kind"] == "Deployment"]
        labels = scheduler["spec"]["template"]["metadata"]["labels"]
        assert _selects({"matchLabels": service["spec"]["selector"]}, labels)
        assert {p["name"] for p in service["spec"]["ports"]} == {"tcp-comm", "http-dashboard"}
    addresses = {a for m in variant for c in containers(m) for a in c["args"] if a.startswith("tls://")}
    assert addresses == {"tls://farm-scheduler:8786"}


def test_processes_of_a_worker_stay_below_its_containers_memory():
    cluster = named(VARIANTS["pvc"], "DaskCluster", "farm")
    (worker,) = cluster["spec"]["worker"]["spec"]["containers"]
    options = dict(zip(worker["args"][2::2], worker["args"][3::2], strict=True))
    n, each = int(options["--workers"]), int(options["--memory-limit"].removesuffix("GiB"))
    requests, limits = worker["resources"]["requests"], worker["resources"]["limits"]
    assert n * each <= int(requests["memory"].removesuffix("Gi")) <= int(limits["memory"].removesuffix("Gi"))
    assert n == int(requests["cpu"])


def test_what_serves_is_probed_and_all_have_requests_and_limits(variant):
    probed = 0
    for spec in (spec for m in variant for spec in pod_specs(m)):
        (container,) = spec["containers"]
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]) & set(container["resources"]["limits"])
        if container["args"][0] != "store":
            command = container["livenessProbe"]["exec"]["command"]
            assert command == ["/opt/drfarm/bin/python", "/usr/local/lib/drfarm/healthcheck.py"]
            probed += 1
    assert probed == 4


def test_the_driver_is_started_again_unless_that_can_not_help():
    job = named(VARIANTS["pvc"], "Job", "drfarm-run")["spec"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # a policy of failures needs it
    fail, _ = job["podFailurePolicy"]["rules"]
    assert fail["onExitCodes"]["values"] == [EXIT_FAILED, EXIT_WRONG]
    assert fail["onExitCodes"]["containerName"] == job["template"]["spec"]["containers"][0]["name"]


def test_the_commands_are_ones_that_drfarm_has(variant):
    import typer

    from drfarm.cli import app

    root = typer.main.get_command(app)
    for manifest in variant:
        for container in containers(manifest):
            command, words = root, list(container["args"])
            while hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            command.make_context(words[0] if words else "", list(words))


def test_the_study_of_the_job_is_one():
    text = named(VARIANTS["pvc"], "ConfigMap", "drfarm-study")["data"]["study.yaml"]
    study = study_from_dict(yaml.safe_load(text), base=Path("/study"), where="study.yaml")
    assert study.study == "pets"
    assert text.count("/data/") == 2
