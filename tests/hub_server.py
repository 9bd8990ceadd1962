"""A stand-in for Hugging Face's hub, on loopback: what its client asks of models and data sets.

    with HubServer() as hub:
        hub.add("dataset", "own/news", {"README.md": b"...", "data/train.parquet": b"..."})   # a new commit of main
        hub.gated.add("own/model")                # 401 with X-Error-Code: GatedRepo, without a token
        hub.failing["own/news"] = 503             # whatever is asked of it
        hub.cut["model.safetensors"] = 1000       # the next download of it breaks off after so many bytes
        hub.held["model.safetensors"] = 1000      # ... or waits there, until the client has gone; ``waiting`` is set
        ... HF_ENDPOINT=hub.address ...
        hub.asked                                 # (method, path, range), in order

Served are /api/{models,datasets}/NAME[/revision/REV], /tree/REV, /paths-info/REV, and (/datasets)/NAME/resolve/REV/FILE
with ETag, X-Repo-Commit and Range. Nothing is said of Xet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import urllib.parse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = 1000  # bytes; a file above is told as LFS's, by its SHA-256
TEXTS = {429: "Too Many Requests", 503: "Service Unavailable"}


class HubServer(ThreadingHTTPServer):
    """The server, in threads of this process. Use it as a context manager."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has gone is none."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.commits: dict[tuple[str, str], dict[str, dict[str, bytes]]] = {}  # (kind, name) -> revision -> files
        self.gated: set[str] = set()
        self.failing: dict[str, int] = {}
        self.cut: dict[str, int] = {}
        self.held: dict[str, int] = {}
        self.waiting = threading.Event()
        self.asked: list[tuple[str, str, str]] = []

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def add(self, kind: str, name: str, files: Mapping[str, bytes]) -> str:
        """Make ``files`` the repository's main revision; return its commit."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits.setdefault((kind, name), {}).update({commit: dict(files), "main": dict(files)})
        return commit

    def downloads(self, file: str) -> list[str]:
        """Return the ranges ("" for all of it) of a file's downloads."""
        return [what for method, path, what in self.asked if method == "GET" and path.endswith(f"/{file}")]


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urllib.parse.unquote(self.path.partition("?")[0])
        self.server.asked.append((self.command, path, self.headers.get("Range", "")))
        parts = path.strip("/").split("/")
        api = parts[0] == "api"
        if api:
            del parts[0]
        kind = "dataset" if parts[0] == "datasets" else "model"
        if parts[0] in ("datasets", "models"):
            del parts[0]
        name, rest = "/".join(parts[:2]), "/".join(parts[4:])
        what, revision = [*parts[2:4], "", ""][:2]
        if status := self.server.failing.get(name):
            return self._fail(status, TEXTS[status])
        commits = self.server.commits.get((kind, name))
        if commits is None:
            return self._fail(404, "Repository not found", "RepoNotFound")
        if revision and revision not in commits:
            return self._fail(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        files = commits[revision or "main"]
        commit = next(each for each, held in commits.items() if each != "main" and held == files)
        if (
            name in self.server.gated
            and what in ("resolve", "tree", "auth-check")
            and "Authorization" not in self.headers
        ):
            text = (
                f"Access to {kind} {name} is restricted. You must have access to it and be authenticated to access it."
            )
            return self._fail(401, text, "GatedRepo")
        if what == "resolve":
            return self._file(rest, files, commit)
        if what in ("tree", "paths-info"):
            return self._json(self._entries(files, rest, what))
        return self._json(
            {
                "id": name,
                "sha": commit,
                "private": False,
                "gated": "manual" if name in self.server.gated else False,
                "tags": [],
                "siblings": [{"rfilename": each, "size": len(content)} for each, content in files.items()],
            }
        )

    do_HEAD = do_POST = do_GET

    def _entries(self, files: Mapping[str, bytes], folder: str, what: str) -> list[dict[str, Any]]:
        wanted = None
        if what == "paths-info":
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            is_json = "json" in self.headers.get("Content-Type", "")
            wanted = json.loads(body)["paths"] if is_json else urllib.parse.parse_qs(body).get("paths", [])
        folders = {each.rpartition("/")[0] for each in files} - {""}
        entries = [{"type": "directory", "path": each, "size": 0, "oid": "0" * 40} for each in sorted(folders)]
        for path, content in files.items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            if len(content) > LARGE:
                entry["lfs"] = {"oid": _etag(content), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        if wanted is not None:
            return [each for each in entries if each["path"] in wanted]
        recursive = "recursive=True" in self.path or "recursive=true" in self.path
        prefix = f"{folder}/" if folder else ""
        inside = [each for each in entries if each["path"].startswith(prefix)]
        return [each for each in inside if recursive or "/" not in each["path"].removeprefix(prefix)]

    def _file(self, path: str, files: Mapping[str, bytes], commit: str) -> None:
        if path not in files:
            return self._fail(404, "Entry not found", "EntryNotFound")
        content = files[path]
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if len(content) > LARGE:
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{_etag(content)}"'}
        status, begin = 200, 0
        if (wanted := self.headers.get("Range", "")) and self.command == "GET":
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            status, begin = 206, int(first)
            end = int(last) + 1 if last else len(content)
            headers["Content-Range"] = f"bytes {begin}-{min(end, len(content)) - 1}/{len(content)}"
            content = content[begin:end]
        sent = None
        if self.command == "GET":
            sent = self.server.cut.pop(path, None) or self.server.held.get(path)
        self._send(status, content, headers, sent)
        if self.command == "GET" and self.server.held.pop(path, None):
            self.wfile.flush()
            self.server.waiting.set()
            with contextlib.suppress(ConnectionResetError):
                self.connection.recv(1)  # its end

    def _json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, text: str, code: str = "") -> None:
        named = {"X-Error-Code": code} if code else {}
        self._send(status, json.dumps({"error": text}).encode(), {"X-Error-Message": text, **named})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str], sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:sent])
        if sent is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
