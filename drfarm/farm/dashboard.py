"""Dask's dashboard of a farm on this machine: for this machine only, and off unless a port is given."""

import socket
from typing import Any

from store import InvalidRequest

HOST = "127.0.0.1"
"""It shows code and data to whoever reaches it, and has no password."""


def dashboard_settings(port: int) -> dict[str, Any]:
    """Return what a local cluster is made with, so that its dashboard is at a port; 0 makes none.

    Raises
    ------
    InvalidRequest
        If the port is taken: the library would choose another one.
    """
    if port:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the dashboard's server does
            try:
                probe.bind((HOST, port))
            except OSError as e:
                raise InvalidRequest(
                    f"the dashboard can't be at {HOST}:{port} ({e.strerror}). Choose another --dashboard-port."
                ) from e
    # Without a dashboard a server would still take a well-known port, and warn where another cluster has it.
    return {"dashboard_address": f"{HOST}:{port}", "scheduler_kwargs": {"dashboard": port > 0}}


def dashboard_line(port: int) -> str:
    """Return where the dashboard is, as told to people."""
    return f"Dask's dashboard at http://{HOST}:{port}/status"
