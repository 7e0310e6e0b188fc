"""Faults against real servers. Not part of `make test`: `make faults` runs them, and needs the servers' packages."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `rados_gateway.py`

from rados_gateway import RadosGateway

BUCKET = "drfarm-faults"


@pytest.fixture(scope="session")
def gateway():
    """Start the RADOS gateway once, with one bucket."""
    server = RadosGateway()
    try:
        server.start()
        server.make_bucket(BUCKET)
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3(gateway, monkeypatch, tmp_path):
    """Give this process the environment of someone who may use the bucket; return the bucket's address."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    return f"s3://{BUCKET}"
