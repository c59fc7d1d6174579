"""Exports on the Hub: huggingface_hub's own client against a stand-in for its server."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.repocard import ModelCard

from kdistill.base.errors import UserError
from kdistill.config.compose import check_overrides
from kdistill.exporting.push import check_push, push

SHA = "1" * 40


class Hub(ThreadingHTTPServer):
    """Takes commits and keeps their files; `ignored` are names that it leaves out, as the Hub does by .gitignore."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.files: dict[str, bytes] = {}
        self.made: dict[str, Any] = {}
        self.commits: list[str] = []
        self.ignored: set[str] = set()
        self.refuses: tuple[int, str] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, body: bytes, token: str | None) -> tuple[int, Any]:
        if token != "Bearer hf_of_a_test":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            self.made = json.loads(body)
            return 200, {"url": f"{self.address}/{self.made['organization']}/{self.made['name']}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            said = [{"path": n, "uploadMode": "regular", "shouldIgnore": n in self.ignored} for n in names]
            return 200, {"files": said}
        if path.endswith("/commit/main"):
            if self.refuses is not None:
                return self.refuses[0], {"error": self.refuses[1]}
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "header":
                    self.commits.append(line["value"]["summary"])
            return 200, {"commitUrl": f"{self.address}/me/small/commit/{'1' * 40}", "commitOid": "1" * 40}
        if path.startswith("/api/models/me/small"):
            return 200, [{"type": "file", "path": n, "size": len(c), "oid": "0"} for n, c in self.files.items()]
        return 404, {"error": f"no {path}"}


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_GET(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        path = self.path.partition("?")[0]
        status, content = self.server.answer(path, body, self.headers.get("Authorization"))
        text = json.dumps(content).encode()
        self.send_response(status)
        if status >= 400:
            self.send_header("X-Error-Message", content["error"])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in, and a token for it."""
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def manifests(tmp_path: Path) -> list[dict[str, Any]]:
    """Two export folders, as far as an upload reads them."""
    found = []
    for name, verdict in (("onnx", "passes"), ("onnx_int8", "inconclusive")):
        folder = tmp_path / "export" / name
        folder.mkdir(parents=True)
        (folder / "student.onnx").write_bytes(name.encode() * 1000)
        (folder / "README.md").write_text(f"# {name}")
        found.append(
            {
                "format": name, "file": "student.onnx", "folder": str(folder), "verdict": verdict, "label": "a *net*",
                "run": "tissue", "fingerprint": "0123456789abcdef0", "classes": ["HP", "SSA"], "test_images": 294,
                "input": {"height": 224, "width": 224}, "latency_on": "a chip", "latency_ms": 4.0, "size_bytes": 9_000,
                "float_latency_ms": 28.0, "difference": {"accuracy": [-0.01, -0.02, 0.0]},
                "test": {"accuracy": 0.8125, "f1": float("nan"), "auroc": 0.9},
            }
        )  # fmt: skip
    return found


def test_an_upload_is_one_commit_with_a_folder_for_each_format_and_a_card_that_the_hub_reads(
    hub: Hub, manifests: Any
) -> None:
    assert push("hf://me/small", manifests) == f"{hub.address}/me/small"
    assert hub.made["visibility"] == "private" and hub.commits == ["Device files: onnx, onnx_int8"]
    assert hub.files.keys() == {
        "README.md", "onnx/student.onnx", "onnx/README.md", "onnx_int8/student.onnx", "onnx_int8/README.md",
    }  # fmt: skip
    assert hub.files["onnx_int8/student.onnx"] == b"onnx_int8" * 1000
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data.pipeline_tag == "image-classification" and card.data.library_name == "onnx"
    assert card.data.eval_results is not None
    assert {(one.metric_name, one.metric_value) for one in card.data.eval_results} == {
        ("accuracy, onnx", 0.8125), ("accuracy, onnx_int8", 0.8125), ("AUROC, onnx", 0.9), ("AUROC, onnx_int8", 0.9),
    }  # fmt: skip
    assert r"# a \*net\*" in card.text and "| -1.00 (-2.00 to +0.00) | inconclusive |" in card.text
    assert "{{" not in card.text and "nan" not in card.content


def test_what_failed_its_test_is_not_pushed(hub: Hub, manifests: Any, caplog: pytest.LogCaptureFixture) -> None:
    manifests[1]["verdict"] = "fails"
    push("hf://me/small", manifests)
    assert not [name for name in hub.files if name.startswith("onnx_int8")]
    assert "not uploaded, for it failed its test: onnx_int8" in caplog.text
    manifests[0]["verdict"] = "fails"
    with pytest.raises(UserError, match="nothing is pushed to hf://me/small, for no file passed its test"):
        push("hf://me/small", manifests)


def test_an_upload_that_fails_says_why_and_what_to_do(
    hub: Hub, manifests: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    again = f"hf upload me/small {tmp_path / 'export'} . --include README.md 'onnx/*' 'onnx_int8/*'"
    hub.refuses = (403, "You are not allowed to write here")
    with pytest.raises(UserError) as caught:
        push("hf://me/small", manifests)
    said = str(caught.value)
    assert "You are not allowed to write here" in said and "give a token that may write to me" in said
    assert f"The export is whole in {tmp_path / 'export'}" in said and said.endswith(again)
    hub.refuses = (400, "Your push was rejected: onnx/student.onnx")
    with pytest.raises(UserError, match=r"rejected: onnx/student\.onnx.*of README\.md, onnx/README\.md, onnx/student"):
        push("hf://me/small", manifests)
    hub.refuses, hub.ignored = None, {"onnx/student.onnx"}
    with pytest.raises(UserError, match=r"the Hub did not take onnx/student\.onnx; all else is at http"):
        push("hf://me/small", manifests)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"the upload failed .*when the Hub can be reached: hf upload me/small"):
        push("hf://me/small", manifests)


def test_without_a_token_it_is_said_before_and_after(
    hub: Hub, manifests: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    check_push("hf://me/small", ["onnx"])
    assert "there is no token" in caplog.text
    with pytest.raises(
        UserError, match=r"log in \(`hf auth login` once, or HF_TOKEN=\.\.\.\); then: hf upload me/small"
    ):
        push("hf://me/small", manifests)
    assert (tmp_path / "export" / "README.md").is_file() and hub.files == {}


@pytest.mark.parametrize("target", ["me/small", "hf://small", "hf://me/small/more", "hf://me/sm--all", "s3://me/small"])
def test_a_place_that_is_none_is_refused_before_anything_is_read(target: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"push={target} is no place that exports go to; give push=hf://")):
        check_push(target, ["onnx"])


def test_the_key_is_one_of_the_export_config() -> None:
    assert "did you mean 'push'?" in " ".join(check_overrides(["run=x", "pus=hf://me/small"], "export")[1])
