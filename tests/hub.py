"""A hub on loopback, as far as huggingface_hub asks it: repositories of commits with branches and tags, and a token."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_notForAnyonesEyes"
Files = dict[str, bytes]


@dataclass
class Repository:
    """A repository: its files at each commit, and where branches and tags are. fails: say no to commits."""

    private: bool
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    fails: bool = False

    def commit(self, branch: str, files: Files) -> str:
        text = json.dumps([len(self.commits), branch, {n: hashlib.sha1(b).hexdigest() for n, b in files.items()}])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        return sha

    def at(self, revision: str) -> str:
        return {**self.tags, **self.branches}.get(revision, revision)

    def files(self, revision: str = "main") -> Files:
        return self.commits[self.at(revision)]


class Hub(dict[str, Repository]):
    """Repositories by their names."""

    address = ""

    def make(self, name: str, *, private: bool = True, **files: bytes) -> Repository:
        self[name] = Repository(private)
        self[name].commit("main", {".gitattributes": b"*.onnx filter=lfs", **files})
        return self[name]


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers on loopback while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif path == ["api", "validate-yaml"]:
            self._send(200, {"errors": [], "warnings": []})
        elif path == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.make(name, private=asked.get("visibility") == "private")
            self._send(200, {"url": f"{self.hub.address}/{name}"})
        elif path[:2] == ["api", "models"] and (found := self.hub.get("/".join(path[2:4]))) is not None:
            self._api(found, path[4:], body, "/".join(path[2:4]))
        elif path[2:3] == ["resolve"] and (found := self.hub.get("/".join(path[:2]))) is not None:
            self._file(found, path[3], "/".join(path[4:]), method)
        else:
            self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})

    def _api(self, found: Repository, path: list[str], body: bytes, name: str) -> None:
        match path:
            case []:
                self._send(200, {"id": name, "sha": found.branches["main"], "private": found.private, "siblings": []})
            case ["revision", revision]:
                siblings = [{"rfilename": each} for each in found.files(revision)]
                self._send(200, {"id": name, "sha": found.at(revision), "private": found.private, "siblings": siblings})
            case ["refs"]:
                refs = {
                    kind: [{"name": n, "ref": n, "targetCommit": sha} for n, sha in each.items()]
                    for kind, each in (("branches", found.branches), ("tags", found.tags), ("converts", {}))
                }
                self._send(200, refs)
            case ["tree", revision]:
                files = found.files(revision).items()
                self._send(200, [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in files])
            case ["branch", branch]:
                found.branches[branch] = found.at(json.loads(body)["startingPoint"])
                self._send(200, {})
            case ["preupload", _]:
                asked = json.loads(body)["files"]
                modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
                self._send(200, {"files": modes})
            case ["commit", branch]:
                self._commit(found, branch, [json.loads(line) for line in body.splitlines()])
            case _:
                self._send(404, {"error": "not in this hub"})

    def _commit(self, found: Repository, branch: str, lines: list[dict[str, Any]]) -> None:
        if found.fails:
            self._send(403, {"error": f"you may not write here with {TOKEN}"})
            return
        if lines[0]["value"]["parentCommit"] != found.branches[branch]:
            self._send(412, {"error": "A commit has happened since. Please refresh and try again."})
            return
        files = dict(found.files(branch))
        for line in lines[1:]:
            if line["key"] == "deletedFile":
                del files[line["value"]["path"]]
            else:
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        sha = found.commit(branch, files)
        self._send(200, {"commitUrl": f"{self.hub.address}/x/y/commit/{sha}", "commitOid": sha})

    def _file(self, found: Repository, revision: str, name: str, method: str) -> None:
        data = found.files(revision)[name]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": found.at(revision)}
        self._send(200, data, headers, head=method == "HEAD")

    def _send(self, status: int, data: Any, headers: dict[str, str] | None = None, *, head: bool = False) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body)
