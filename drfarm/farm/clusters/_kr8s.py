"""Kubernetes' API server, through kr8s, which comes with dask-kubernetes. The thin edge: no decision is made here."""

import contextlib
from collections.abc import Iterator
from typing import Any

import kr8s
from kr8s.objects import APIObject, new_class

from drfarm.farm.clusters._kubernetes import KubernetesRefused


class Kr8sApi:
    """The API server that this process, or a person's kubeconfig, knows."""

    def create(self, resource: dict[str, Any]) -> None:
        """Make a resource."""
        with _told():
            _object(resource).create()

    def phase(self, resource: dict[str, Any]) -> str | None:
        """Return what the operator says of a cluster; None as long as it says nothing."""
        found = _object(resource)
        with _told():
            try:
                found.refresh()
            except kr8s.NotFoundError:
                return None
        phase = (found.raw.get("status") or {}).get("phase")
        return None if phase is None else str(phase)

    def scale(self, resource: dict[str, Any], n_pods: int) -> None:
        """Give a worker group another size."""
        with _told():
            _object(resource).patch({"spec": {"worker": {"replicas": n_pods}}})

    def delete(self, resource: dict[str, Any]) -> None:
        """Delete a resource; one that is not there is no error."""
        with _told(), contextlib.suppress(kr8s.NotFoundError):
            _object(resource).delete()


def _object(resource: dict[str, Any]) -> APIObject:
    made = new_class(resource["kind"], resource["apiVersion"], namespaced=True)
    return made(resource)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Tell what goes wrong in our words."""
    try:
        yield
    except kr8s.NotFoundError:
        raise
    except Exception as e:
        status = getattr(getattr(e, "response", None), "status_code", None)
        what = f"status {status}: {e}" if status else f"{type(e).__name__}: {e}"
        raise KubernetesRefused(f"the API server: {what}") from e
