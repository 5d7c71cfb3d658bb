"""A hub on this machine, and a client of it in a process of its own.

huggingface_hub reads its settings when it is imported, so they can only be given to a new process.
"""

import hashlib
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[2]


class Hub(ThreadingHTTPServer):
    """As much of the hub's protocol as downloads need.

    ``files`` maps "timm/name/model.safetensors" to bytes, ``faults`` the same names to what is to
    go wrong, ``requests`` lists what was asked for.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files, self.faults, self.requests = {}, {}, []
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def close(self):
        self.shutdown()
        self.server_close()

    def asked(self, part):
        return [request for request in self.requests if part in request]


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.note()
        repository, _, rest = self.path.strip("/").partition("/resolve/")
        name = f"{repository}/{rest.partition('/')[2]}"
        if self.server.faults.get(name) == "busy":
            self.answer(503)
        elif name in self.server.files:
            content = self.server.files[name]
            # Large files lie on another server, which the hub names.
            elsewhere = self.server.url.replace("127.0.0.1", "localhost")
            digest = hashlib.sha256(content).hexdigest()
            self.answer(302, Location=f"{elsewhere}/stored/{name}", **linked(content, digest))
        elif any(known.startswith(f"{repository}/") for known in self.server.files):
            self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        else:
            self.answer(404, X_Error_Code="RepoNotFound")

    def do_GET(self):
        self.note()
        name = self.path.removeprefix("/stored/")
        if name not in self.server.files:
            return self.answer(404)
        content, fault = self.server.files[name], self.server.faults.get(name)
        again = len(self.server.asked(self.requestline.rpartition(" ")[0])) > 1
        if fault == "cut for good" and again:
            return self.answer(410)
        if fault == "damaged":
            content = content[:-1] + bytes([content[-1] ^ 1])
        elif fault == "short":
            content = content[: len(content) // 2]
        start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
        self.answer(206 if start else 200, Content_Length=str(len(content) - start))
        self.close_connection = fault in ("cut", "cut for good") and not again
        self.wfile.write(content[start : len(content) // 2 if self.close_connection else None])
        return None

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in {"Content_Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def note(self):
        self.server.requests.append(f"{self.command} {self.path}")

    def log_message(self, *_):
        pass


def linked(content, digest):
    return {
        "X_Repo_Commit": COMMIT,
        "X_Linked_Etag": f'"{digest}"',
        "X_Linked_Size": str(len(content)),
        "ETag": '"of-the-pointer"',
    }


class Client:
    """A process that calls the functions of ``_weights`` with settings of its own."""

    def __init__(self, home, **settings):
        environment = {name: value for name, value in os.environ.items() if name[:3] != "HF_"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.pretrained.hub_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=environment
            | {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
            | {name: str(value) for name, value in settings.items()},
        )

    def __call__(self, function, *arguments, **settings):
        """Return the result of a function, or its error as (names of its classes, message)."""
        print(json.dumps([function, arguments, settings]), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if isinstance(answer, dict):
            return SimpleNamespace(**answer)
        return answer

    def close(self):
        self.process.communicate(timeout=30)


def backbone(hub_id):
    return SimpleNamespace(name="test_resnet.r160_in1k", hub_id=hub_id, classifier="fc")


def features(name, images):
    """Return what a new extractor makes of images."""
    import numpy as np

    from skcnn import PretrainedExtractor

    return PretrainedExtractor(name).fit_transform(np.array(images, np.uint8)).tolist()


def result_of(function, arguments):
    """Return the result of a function in a form that can be sent."""
    from skcnn.pretrained import _weights

    if function == "features":
        return features(*arguments)
    if function in ("default_weights", "cached_weights"):
        arguments = [backbone(*arguments)]
    file = getattr(_weights, function)(*arguments)
    return file and {"source": file.source, "path": str(file.path), "digest": file.digest}


def answers():
    """Answer the lines of a client."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        function, arguments, settings = json.loads(line)
        os.environ.update(settings)
        try:
            result = result_of(function, arguments)
        except Exception as error:
            result = [kind.__name__ for kind in type(error).__mro__], str(error)
        for name in settings:
            del os.environ[name]
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    answers()
