"""Made-up results of a study with everything in it: two solvers, a PCA, classes, failures, names that are HTML."""

import numpy as np
import pyarrow as pa
from conftest import CKA, PROBES

from aggregate import ReportInput, redundancy
from aggregate.report import Fact, Failure, Listing, PlainTable

EVIL = "<img src=x onerror=alert(1)>"
"""A name that runs a script wherever it is taken for HTML."""
SIZES = (4, 8, 16, 32, 64)
SEEDS = (1, 2, 3)
_LISTS = ("class_accuracy", "predicted_count")


def report_input(models: tuple[str, ...] = ("resnet", EVIL), datasets: tuple[str, ...] = ("pets", EVIL)) -> ReportInput:
    """Return a whole report's input."""
    rng = np.random.default_rng(0)
    probes, cka = [], []
    for m, model in enumerate(models):
        for d, dataset in enumerate(datasets):
            cell = {"study": "made up", "model": model, "layer": "penultimate", "dataset": dataset, "width": SIZES[-1]}
            ids = {"train_id": f"{m}{d}a" * 21 + "0", "test_id": f"{m}{d}b" * 21 + "0"}
            for solver, method in (("sgd", "random"), ("ridge", "random"), ("sgd", "pca")):
                for seed in SEEDS if method == "random" else (0,):
                    for k in SIZES:
                        accuracy = 0.9 - 0.5 / k - 0.1 * d + 0.01 * rng.standard_normal() - 0.05 * m
                        classes = np.clip(accuracy + 0.1 * rng.standard_normal(4), 0, 1)
                        probes.append(
                            {**cell, **ids, "solver": solver, "protocol": "paper" if solver == "sgd" else "default"}
                            | {"method": method, "seed": seed, "n_neurons": k, "fraction": k / SIZES[-1]}
                            | {"accuracy": float(classes.mean()), "class_accuracy": classes.tolist(), "n_test": 400}
                            | {"predicted_count": [100] * 4, "job_id": f"p{len(probes)}"}
                        )
            for seed in SEEDS:
                for k in SIZES:
                    value = 1 - 0.9 / k if k < SIZES[-1] else 1.0
                    cka.append(
                        {**cell, "test_id": ids["test_id"], "kind": "part_whole", "method": "random", "seed": seed}
                        | {"seed_b": None, "n_neurons": k, "fraction": k / SIZES[-1], "value": value}
                        | {"n_samples": 400, "job_id": f"c{len(cka)}"}
                    )
    table = pa.Table.from_pylist(probes, schema=PROBES)
    similarity = pa.Table.from_pylist(cka, schema=CKA)
    return ReportInput(
        title=f"made up {EVIL}",
        probes=table,
        cka=similarity,
        redundancy=redundancy(table.drop_columns(list(_LISTS)), similarity, deltas=[0.8, 0.9]),
        failures=(
            Failure(
                what=f"110 sgd probes of {EVIL}",
                error=f"ValueError: {EVIL}",
                n_jobs=110,
                batch_id="ab12",
                stage="probe",
                attempts=3,
                log=f"line 1\n{EVIL}",
            ),
        ),
        facts={
            "Cost": (Fact(name="Time in probes", value="3 s"),),
            "Where it comes from": (Fact(name=EVIL, value=EVIL),),
        },
        reproduce=(Listing(title="Commands", text=f"drfarm run study.yaml # {EVIL}"),),
        tables=(
            PlainTable(
                about="provenance",
                title="Representations",
                columns=("network", "id", "samples"),
                rows=tuple((EVIL, f"{i:064x}", "50,000") for i in range(40)),
                numeric=frozenset({"samples"}),
                note="Hashes of `weights`.",
            ),
        ),
        made="made 2026-11-23 12:00 UTC by drfarm",
    )
