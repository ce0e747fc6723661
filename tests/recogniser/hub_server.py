"""A hub on 127.0.0.1: as much of ModelScope's and Hugging Face's interfaces as their libraries
use to list and download a model, with the accidents that a network has."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from app.recogniser.model_dir import BUNDLED

SIZES = ("large", "base", "seed")
NAMES = {f"iic/emotion2vec_plus_{size}" for size in SIZES}
NAMES |= {f"emotion2vec/emotion2vec_plus_{size}" for size in SIZES}
IN_GIT = ("config.yaml", "tokens.txt", "configuration.json", "README.md")  # others are in LFS

Files = dict[str, bytes]


def bundled_files() -> Files:
    """A model that can be served, small enough for tests."""
    names = ("config.yaml", "model.pt", "tokens.txt", "configuration.json")
    return {name: (BUNDLED / name).read_bytes() for name in names} | {"README.md": b"# A model"}


@dataclass
class HubServer:
    """Every published model has the same files, by revision; "master" and "main" are one."""

    revisions: dict[str, Files] = field(default_factory=lambda: {"main": bundled_files()})
    # Of a file's next responses: after how many bytes each ends; None is whole.
    cuts: dict[str, list[int | None]] = field(default_factory=lambda: defaultdict(list))
    damaged: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # responses
    broken: set[str] = field(default_factory=set)  # files that get status 503
    requests: list[str] = field(default_factory=list)  # METHOD path
    tokens: list[tuple[str, str | None]] = field(default_factory=list)  # host asked, login sent
    ranges: list[tuple[str, int]] = field(default_factory=list)  # file, first byte asked for

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.cdn = f"http://localhost:{self._server.server_port}/cdn"  # as if another host
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Cut the network: from now on nobody listens. May be called twice."""
        self._server.shutdown()
        self._server.server_close()

    def commit(self, revision: str) -> str | None:
        """The commit that a revision is at, or None."""
        revision = "main" if revision == "master" else revision
        for name, files in self.revisions.items():
            parts = (hashlib.sha1(files[key]).hexdigest() for key in sorted(files))
            commit = hashlib.sha1("".join(parts).encode()).hexdigest()
            if revision in (name, commit):
                return commit
        return None

    def files(self, revision: str) -> Files:
        wanted = self.commit(revision)
        return next(files for name, files in self.revisions.items() if self.commit(name) == wanted)


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            path = unquote(url.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            hub.requests.append(f"{self.command} {path}")
            host = str(self.headers["Host"]).partition(":")[0]
            hub.tokens.append((host, self.headers["Authorization"]))
            for pattern, answer in (
                (r"/api/v1/models/([^/]+/[^/]+)/repo/files", self.modelscope_listing),
                (r"/api/v1/models/([^/]+/[^/]+)/repo", self.modelscope_file),
                (r"/api/models/([^/]+/[^/]+)/revision/(.+)", self.hugging_face_info),
                (r"/api/models/([^/]+/[^/]+)/tree/(.+)", self.hugging_face_tree),
                (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.hugging_face_file),
                (r"/cdn/([^/]+)/(.+)", self.hugging_face_content),
            ):
                if match := re.fullmatch(pattern, path):
                    answer(query, *match.groups())
                    return
            self.refuse("EntryNotFound")

        def modelscope_listing(self, query: dict[str, str], name: str) -> None:
            if name not in NAMES or not hub.commit(query["Revision"]):
                self.refuse("RepoNotFound")
                return
            listed = [
                {
                    "Path": path,
                    "Name": path,
                    "Type": "blob",
                    "Size": len(content),
                    "Sha256": hashlib.sha256(content).hexdigest(),
                }
                for path, content in hub.files(query["Revision"]).items()
            ]
            self.send_json({"Code": 200, "Success": True, "Data": {"Files": listed}})

        def modelscope_file(self, query: dict[str, str], name: str) -> None:
            path = query["FilePath"]
            self.send_file(path, hub.files(query["Revision"])[path])

        def hugging_face_info(self, _: dict[str, str], name: str, revision: str) -> None:
            if not (commit := self.commit_or_refuse(name, revision)):
                return
            siblings = []
            for path, content in hub.files(revision).items():
                sibling: dict[str, object] = {"rfilename": path, "size": len(content)}
                sibling["blobId"] = git_sha1(content)
                if path not in IN_GIT:
                    sha256 = hashlib.sha256(content).hexdigest()
                    sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
                siblings.append(sibling)
            self.send_json({"id": name, "sha": commit, "siblings": siblings})

        def hugging_face_tree(self, _: dict[str, str], name: str, revision: str) -> None:
            if not self.commit_or_refuse(name, revision):
                return
            entries = []
            for path, content in hub.files(revision).items():
                entry: dict[str, object] = {"type": "file", "path": path, "size": len(content)}
                entry["oid"] = git_sha1(content)
                if path not in IN_GIT:
                    sha256 = hashlib.sha256(content).hexdigest()
                    entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
                entries.append(entry)
            self.send_json(entries)

        def hugging_face_file(self, _: dict[str, str], name: str, revision: str, path: str) -> None:
            if not (commit := self.commit_or_refuse(name, revision)):
                return
            if (content := hub.files(revision).get(path)) is None:
                self.refuse("EntryNotFound")
            elif path in IN_GIT:
                headers = {"X-Repo-Commit": commit, "ETag": f'"{git_sha1(content)}"'}
                self.send_file(path, content, headers)
            else:
                self.send_response(302)
                self.send_header("Location", f"{hub.cdn}/{commit}/{path}")
                self.send_header("X-Repo-Commit", commit)
                self.send_header("X-Linked-Size", str(len(content)))
                self.send_header("X-Linked-ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("Content-Length", "0")
                self.end_headers()

        def hugging_face_content(self, _: dict[str, str], commit: str, path: str) -> None:
            self.send_file(path, hub.files(commit)[path])

        def commit_or_refuse(self, name: str, revision: str) -> str | None:
            if name not in NAMES:
                self.refuse("RepoNotFound")
                return None
            if not (commit := hub.commit(revision)):
                self.refuse("RevisionNotFound")
            return commit

        def refuse(self, code: str) -> None:
            body = b'{"Code": 404, "Message": "not found", "error": "not found"}'
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_body(body, "application/json")

        def send_json(self, content: object) -> None:
            self.send_response(200)
            self.send_body(json.dumps(content).encode(), "application/json")

        def send_body(self, body: bytes, kind: str) -> None:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def send_file(
            self, path: str, content: bytes, headers: dict[str, str] | None = None
        ) -> None:
            if path in hub.broken and self.command == "GET":
                self.send_response(503)
                self.send_body(b"{}", "application/json")
                return
            first = int(re.sub(r"bytes=(\d+)-.*", r"\1", self.headers.get("Range", "bytes=0-")))
            if self.command == "GET":
                hub.ranges.append((path, first))
            body = content[first:]
            if hub.damaged[path] > 0 and self.command == "GET":
                hub.damaged[path] -= 1
                body = body[:-1] + bytes([body[-1] ^ 1])
            self.send_response(206 if first else 200)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if first:
                total = len(content)
                self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            cut = hub.cuts[path].pop(0) if hub.cuts[path] else None
            self.wfile.write(body if cut is None else body[:cut])
            if cut is not None:
                self.close_connection = True

    return Handler


def write(files: Files, directory: Path) -> Path:
    """The files in a directory, as another program may have left them."""
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory
