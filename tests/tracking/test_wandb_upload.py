"""`scripts/sync_wandb.sh` against a stand-in for W&B's server: what an offline run becomes when it is uploaded."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from records import TEACHER, record

from kdistill.runs.folder import RunFolder
from kdistill.tracking.wandb_models import log_model
from kdistill.tracking.wandb_run import open_run, staged_in

SCRIPT = Path(__file__).parents[2] / "scripts" / "sync_wandb.sh"


class Server(ThreadingHTTPServer):
    """Answers what W&B's client asks on the way of an upload, and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []  # GraphQL's operations and their variables
        self.history: dict[str, list[str]] = {}  # lines by run
        self.files: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((operation, given))
        asked = given.get("input", given)
        upload = {"uploadHeaders": [], "name": "n", "displayName": "n"}
        run = {"id": "run", "name": given.get("name"), "displayName": "d", "historyLineCount": 0, "config": "{}"}
        run["project"] = {"id": "p", "name": "kdistill", "entity": {"id": "e", "name": "me"}}
        if operation == "RunResumeStatus":
            count = len(self.history[given["name"]])
            known = {
                "historyLineCount": count,
                "eventsLineCount": 0,
                "logLineCount": 0,
                "historyTail": json.dumps(self.history[given["name"]][-1:]),
            }
            known |= {"eventsTail": "[]", "summaryMetrics": "{}", "wandbConfig": '{"t": 1}', "tags": [], "notes": ""}
            return {"model": {"id": "m", "name": "m", "entity": {"id": "e", "name": "me"}, "bucket": run | known}}
        if operation == "UpsertBucket":
            return {"upsertBucket": {"bucket": run, "inserted": True}}
        if operation == "CreateArtifact":
            name = asked["artifactCollectionName"]
            return {"createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": {"id": "s"}}}}
        if operation == "CreateArtifactManifest":
            file = {"id": "f", "uploadUrl": f"{self.address}/manifest", **upload}
            return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}
        if operation == "CreateArtifactFiles":
            nodes = [
                upload
                | {"id": "f", "name": file["name"], "displayName": file["name"], "storagePath": "s"}
                | {"uploadUrl": f"{self.address}/{file['artifactID']}/{file['name']}", "artifact": {"id": "a"}}
                for file in asked["artifactFiles"]
            ]
            return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.address}/run/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}
        if operation == "CommitArtifact":
            return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}
        return {
            "useArtifact": {"artifact": {"id": "a", "digest": "d", "state": "COMMITTED", "createdAt": "2026-01-31"}}
        }


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.body()
        found: dict[str, Any] = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            found = {"data": self.server.answer(asked["operationName"], asked.get("variables") or {})}
        elif self.path.endswith("/file_stream"):
            part = json.loads(body).get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
            lines = self.server.history.setdefault(self.path.split("/")[-2], [])
            lines[part["offset"] : part["offset"] + len(part["content"])] = part["content"]
        self.reply(found)

    def do_PUT(self) -> None:
        self.server.files[self.path] = self.body()
        self.reply({})

    def body(self) -> bytes:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    def reply(self, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Writes nothing: nobody reads the server's log."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_an_upload_sends_history_files_and_lineage_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "student.safetensors").write_bytes(b"student")
    (tmp_path / "teacher.pt").write_bytes(b"teacher")
    named = {"label": "mnist_cnn", "fingerprint": "0123456789abcdef", "checkpoint": str(tmp_path / "teacher.pt")}
    trained = record(
        "distill", label="mlp", fingerprint="f", experiment="a b", seed=1, teacher=replace(TEACHER, **named)
    )
    about: dict[str, Any] = {"project": "kdistill", "name": "n", "group": "g", "job_type": "distill", "tags": ["t"]}
    for epoch in (0, 1):  # the second goes on with the first, as after a kill
        run = open_run(**about, mode="offline", save_dir=tmp_path)
        run.log({"epoch": epoch, "val/accuracy": 0.5 + epoch / 4})
        if epoch == 1:
            with staged_in(tmp_path):
                log_model(run, RunFolder(tmp_path), trained)
        run.finish()

    def sync() -> subprocess.CompletedProcess[str]:
        more = {"PYTHON": sys.executable, "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": server.address}
        command = ["bash", str(SCRIPT), str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | more, timeout=120)

    done = sync()
    assert done.returncode == 0 and "uploading 2 offline runs" in done.stdout, done.stdout + done.stderr
    ((run_id, lines),) = server.history.items()
    assert run_id == run.id, "both files are one run"
    rows = [json.loads(line) for line in lines]
    assert [(row["epoch"], row["val/accuracy"]) for row in rows] == [(0, 0.5), (1, 0.75)]
    uploaded = {path: content for path, content in server.files.items() if path.startswith("/model-")}
    assert uploaded == {
        "/model-a-b-seed1/student.safetensors": b"student",
        "/model-mnist_cnn-0123456789ab/teacher.pt": b"teacher",
    }
    used = [given["input"]["artifactID"] for operation, given in server.asked if operation == "UseArtifact"]
    assert used == ["model-mnist_cnn-0123456789ab"], "the teacher's file is an input of the student's run"
    asked = len(server.asked)
    again = sync()
    assert again.returncode == 0 and "nothing to upload (2 offline runs were uploaded before)" in again.stdout
    assert len(server.asked) == asked
