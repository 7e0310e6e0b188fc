"""A MOCK of an S3 server, in this process's memory, for the quick tests; `make faults` tests against a real one.

It checks signatures, and can misbehave on request: ignore or refuse create-only puts, know no bulk delete, fail, drop
the answer to what it has done, serve one key only after a while.
"""

import hashlib
import hmac
import re
import threading
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

KEY, SECRET, REGION = "mock-key", "mock-secret", "us-east-1"


class MockS3(ThreadingHTTPServer):
    """The server. `start` it, and give its `environment` to whoever talks to it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets = {"bucket"}
        self.objects: dict[tuple[str, str], tuple[bytes, datetime]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.conditional = "yes"
        """``yes``, ``ignored`` or ``refused`` (501)."""
        self.bulk_delete = True
        self.bulk_refusal = 405
        self.deleted: list[list[str]] = []
        """Names of each bulk delete."""
        self.page = 1000
        self.fail: list[tuple[str, int | str]] = []
        """What to do to the next requests of a method: a status, ``drop`` (do it, give no answer) or ``cut``."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def start(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that was killed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 2**16  # head and body in one packet: two would wait for each other
    server: MockS3

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._serve()

    def do_PUT(self):
        self._serve()

    def do_POST(self):
        self._serve()

    def do_HEAD(self):
        self._serve()

    def do_DELETE(self):
        self._serve()

    def _serve(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.bucket, _, key = parts.path.removeprefix("/").partition("/")
        self.key = unquote(key)
        with self.server.lock:
            self.server.requests[self.command] += 1
            planned = next((f for f in self.server.fail if f[0] == self.command), None)
            if planned:
                self.server.fail.remove(planned)
        if planned and isinstance(planned[1], int):
            return self._error(planned[1], "SlowDown" if planned[1] == 503 else "InternalError")
        if wrong := self._refused():
            return self._error(403, wrong)
        if self.bucket not in self.server.buckets:
            return self._error(404, "NoSuchBucket")
        with self.server.lock:
            status, headers, answer = self._act(body)
        if planned and planned[1] == "drop":
            self.close_connection = True
            return None
        if planned and planned[1] == "cut":
            self.close_connection = True
            return self._send(status, headers, answer[: len(answer) // 2], length=len(answer))
        return self._send(status, headers, answer)

    def _act(self, body):
        objects, place = self.server.objects, (self.bucket, self.key)
        if self.command == "POST" and "delete" in self.query:
            if not self.server.bulk_delete:
                return self._problem(self.server.bulk_refusal, "MethodNotAllowed")
            names = [e.text for e in ET.fromstring(body).iter() if e.tag.endswith("Key")]
            assert len(names) <= 1000
            self.server.deleted.append(names)
            for name in names:
                objects.pop((self.bucket, name), None)
            done = "".join(f"<Deleted><Key>{escape(n)}</Key></Deleted>" for n in names)
            return 200, {}, f"<DeleteResult>{done}</DeleteResult>".encode()
        if self.command == "POST" and "uploads" in self.query:
            upload = f"upload-{len(self.server.uploads)}"
            self.server.uploads[upload] = {}
            return 200, {}, _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        if self.command == "PUT" and "uploadId" in self.query:
            self.server.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = body
            return 200, {"ETag": _etag(body)}, b""
        if self.command == "POST" and "uploadId" in self.query:
            parts = self.server.uploads.pop(self.query["uploadId"])
            objects[place] = (b"".join(parts[i] for i in sorted(parts)), datetime.now(UTC))
            etag = _etag(objects[place][0])
            return 200, {}, _xml("CompleteMultipartUploadResult", f"<ETag>{escape(etag)}</ETag>")
        if self.command == "DELETE":
            if "uploadId" in self.query:
                self.server.uploads.pop(self.query["uploadId"], None)
            else:
                objects.pop(place, None)
            return 204, {}, b""
        if self.command == "PUT":
            if self.headers.get("if-none-match") == "*":
                if self.server.conditional == "refused":
                    return self._problem(501, "NotImplemented")
                if self.server.conditional == "yes" and place in objects:
                    return self._problem(412, "PreconditionFailed")
            objects[place] = (body, datetime.now(UTC))
            return 200, {"ETag": _etag(body)}, b""
        if "list-type" in self.query:
            return 200, {}, self._listing().encode()
        if place not in objects:
            return self._problem(404, "NoSuchKey")
        data, at = objects[place]
        headers = {"ETag": _etag(data), "Last-Modified": at.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        if match := re.match(r"bytes=(\d+)-(\d+)", self.headers.get("range") or ""):
            start, end = int(match[1]), min(int(match[2]) + 1, len(data))
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            return 206, headers, data[start:end]
        return 200, headers, data

    def _listing(self):
        prefix, after = self.query.get("prefix", ""), self.query.get("continuation-token", "")
        found = sorted(k for b, k in self.server.objects if b == self.bucket and k.startswith(prefix) and k > after)
        page = found[: self.server.page]
        more = len(found) > len(page)
        rows = ""
        for key in page:
            data, at = self.server.objects[self.bucket, key]
            rows += (
                f"<Contents><Key>{escape(key)}</Key><LastModified>{at.strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3]}Z</LastModified>"
                f"<ETag>{escape(_etag(data))}</ETag><Size>{len(data)}</Size></Contents>"
            )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"

    def _refused(self):
        """Check the signature: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
        match = re.match(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=(\w+)",
            self.headers.get("authorization") or "",
        )
        if not match:
            return "AccessDenied"
        key, scope, signed, signature = match.groups()
        if key != KEY:
            return "InvalidAccessKeyId"
        parts = urlsplit(self.path)
        query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(self.query.items()))
        headers = "".join(f"{h}:{(self.headers.get(h) or '').strip()}\n" for h in signed.split(";"))
        content = self.headers["x-amz-content-sha256"]
        request = f"{self.command}\n{parts.path}\n{query}\n{headers}\n{signed}\n{content}"
        text = (
            f"AWS4-HMAC-SHA256\n{self.headers['x-amz-date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        )
        secret = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
        expected = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(expected, signature) else "SignatureDoesNotMatch"

    def _problem(self, status, code):
        return status, {}, f"<Error><Code>{code}</Code><Message>mock</Message></Error>".encode()

    def _error(self, status, code):
        self._send(*self._problem(status, code))

    def _send(self, status, headers, body, *, length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(data):
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _xml(name, content):
    return f"<{name}>{content}</{name}>".encode()
