"""A real S3 server for tests: Ceph's RADOS gateway with one monitor and one disk daemon, on loopback, in a folder.

Needs Debian's packages ceph-mon, ceph-osd, ceph-common and radosgw. Nothing is left behind but processes that were
asked to stop.
"""

import hashlib
import hmac
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path

PACKAGES = "ceph-mon ceph-osd ceph-common radosgw"
KEY, SECRET, REGION = "faults-key", "faults-secret-0123456789", "us-east-1"

_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon1}]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
run dir = {root}/run
admin socket = {root}/run/$cluster-$name.asok
pid file = {root}/run/$name.pid
log file = {root}/log/$name.log
crash dir = {root}/crash
keyring = /dev/null
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 500
mon data avail crit = 1
mon data avail warn = 2
[mon.a]
mon data = {root}/mon.a
[osd.0]
osd data = {root}/osd.0
osd objectstore = bluestore
bluestore block size = 8589934592
bluestore block wal create = false
bluestore block db create = false
osd memory target = 1073741824
bluestore fsck on mount = false
[client.rgw.a]
rgw data = {root}/rgw.a
# radosgw asks the monitor in secure mode otherwise, and hangs without cephx.
ms mon client mode = crc
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw dns name = localhost
rgw thread pool size = 64
rgw enable usage log = false
"""


class RadosGateway:
    """The server. `start` it once; `kill_gateway` and `start_gateway` as often as a test wants."""

    def __init__(self):
        missing = [p for p in ("ceph-mon", "ceph-osd", "ceph", "monmaptool", "radosgw") if shutil.which(p) is None]
        if missing:
            message = f"no {missing[0]} here: these tests need a real S3 server. On Debian: apt-get install {PACKAGES}"
            raise RuntimeError(message)
        # Sockets lie in it, and their paths must be short.
        self.root = Path(tempfile.mkdtemp(prefix="drfarm-rgw-"))
        mon, mon1, self.port = _free_ports(3)
        for name in ("mon.a", "osd.0", "rgw.a", "run", "log"):
            (self.root / name).mkdir()
        self.fsid = str(uuid.uuid4())
        self.monitors = f"[v2:127.0.0.1:{mon},v1:127.0.0.1:{mon1}]"
        text = _CONFIGURATION.format(root=self.root, fsid=self.fsid, mon=mon, mon1=mon1, port=self.port)
        (self.root / "ceph.conf").write_text(text)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def start(self):
        monmap = str(self.root / "monmap")
        _run("monmaptool", "--create", "--clobber", "--addv", "a", self.monitors, "--fsid", self.fsid, monmap)
        self._ceph("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._ceph("ceph-mon", "-i", "a")
        disk = str(uuid.uuid4())
        self._ceph("ceph", "osd", "new", disk)
        self._ceph("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._ceph("ceph-osd", "-i", "0")
        user = ("user", "create", "--uid=faults", "--display-name=faults", f"--access-key={KEY}", f"--secret={SECRET}")
        self._ceph("radosgw-admin", "-n", "client.rgw.a", *user)
        self.start_gateway()
        return self

    def start_gateway(self):
        self._ceph("radosgw", "-n", "client.rgw.a")
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(self.endpoint, timeout=5).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def kill_gateway(self):
        """Kill it as a crash would; what it stored stays with the disk daemon."""
        self._signal("client.rgw.a", signal.SIGKILL)

    def make_bucket(self, name: str):
        signed_request("PUT", self.endpoint, f"/{name}")

    def stop(self):
        pids = [self._signal(name, signal.SIGTERM) for name in ("client.rgw.a", "osd.0", "mon.a")]
        end = time.monotonic() + 20
        while any(map(_alive, pids)) and time.monotonic() < end:
            time.sleep(0.1)
        for pid in filter(_alive, pids):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)

    def _ceph(self, program, *words):
        _run(program, "-c", str(self.root / "ceph.conf"), *words)

    def _signal(self, name, number):
        file = self.root / "run" / f"{name}.pid"
        try:
            pid = int(file.read_text())
            os.kill(pid, number)
        except (OSError, ValueError):
            return None
        end = time.monotonic() + 10
        while number == signal.SIGKILL and _alive(pid) and time.monotonic() < end:
            time.sleep(0.02)
        return pid


def signed_request(method, endpoint, path, key=KEY, secret=SECRET):
    """Make one signed request without a body, as `mock_s3` checks it (AWS signature version 4)."""
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{at[:8]}/{REGION}/s3/aws4_request"
    names = "host;x-amz-content-sha256;x-amz-date"
    body = hashlib.sha256(b"").hexdigest()
    host = endpoint.removeprefix("http://")
    headers = f"host:{host}\nx-amz-content-sha256:{body}\nx-amz-date:{at}\n"
    request = f"{method}\n{path}\n\n{headers}\n{names}\n{body}"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    authorization = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    sent = {"x-amz-date": at, "x-amz-content-sha256": body, "Authorization": authorization}
    with urllib.request.urlopen(
        urllib.request.Request(endpoint + path, method=method, headers=sent), timeout=60
    ) as answer:
        return answer.read()


def _run(*words):
    # Daemons keep the pipes of whoever starts them: their output goes nowhere, their logs are in the folder.
    subprocess.run(words, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _alive(pid):
    if pid is None:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
