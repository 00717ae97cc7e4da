"""Other servers of models, each in an environment of its own, since they pin other versions than ours.

An environment is made by pip on first use, beside the cache of models. Each server runs the identity: it answers with the array
that it was sent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from multiedge.errors import ConfigError
from tests.builders.models import cache_folder

READY = "ready"
"""The file in an environment whose packages are installed; it holds their requirements."""
INSTALL_S = 1200.0
MODEL = "identity"

MLSERVER = """
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Identity(MLModel):
    async def predict(self, payload):
        outputs = [NumpyCodec.encode_output("y", NumpyCodec.decode_input(each)) for each in payload.inputs]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)
"""
KSERVE = """
import sys

from kserve import InferOutput, InferResponse, Model, ModelServer


class Identity(Model):
    def __init__(self):
        super().__init__("identity")
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        outputs = [InferOutput(name="y", shape=each.shape, datatype=each.datatype) for each in payload.inputs]
        for output, given in zip(outputs, payload.inputs):
            output.set_data_from_numpy(given.as_numpy(), binary_data=True)
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=outputs)


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1, enable_docs_url=False).start([Identity()])
"""
RAY_SERVE = """
import json
import sys
import time
from collections import deque

import numpy as np
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.1})
class Identity:
    async def __call__(self, request: Request):
        return Response(await request.body(), media_type="application/octet-stream")

    async def same(self, array):
        return array


def alone(handle, array, count):
    seconds = []
    for _ in range(count):
        begin = time.perf_counter()
        assert handle.same.remote(array).result().nbytes == array.nbytes
        seconds.append(time.perf_counter() - begin)
    return seconds


def full(handle, array, count, depth):
    begin, waiting = time.perf_counter(), deque()
    for _ in range(count):
        if len(waiting) == depth:
            waiting.popleft().result()
        waiting.append(handle.same.remote(array))
    while waiting:
        waiting.popleft().result()
    return time.perf_counter() - begin


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    handle = serve.run(Identity.bind())
    print(json.dumps("ready"), file=out, flush=True)
    for line in sys.stdin:
        nbytes, count, depth = json.loads(line)
        array = np.zeros(nbytes // 4, np.float32)
        answer = full(handle, array, count, depth) if depth else alone(handle, array, count)
        print(json.dumps(answer), file=out, flush=True)
"""


@dataclass(frozen=True)
class Environment:
    """An environment of Python with packages from their index, and one module that begins the server."""

    name: str
    requirements: tuple[str, ...]
    module: str
    package: str
    """Whose version is that of the server."""

    @property
    def folder(self) -> Path:
        return Path(cache_folder()).parent / "environments" / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def make(self) -> Environment:
        """The environment, which is made if it is not there; that takes minutes. ConfigError in one line if it cannot be."""
        ready, wanted = self.folder / READY, "\n".join(self.requirements)
        if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
            ready.unlink(missing_ok=True)
            print(f"making {self.folder}: {' '.join(self.requirements)}", file=sys.stderr, flush=True)
            self._run([sys.executable, "-m", "venv", "--clear", str(self.folder)])
            self._run([str(self.python), "-m", "pip", "install", "--quiet", *self.requirements])
            ready.write_text(wanted, encoding="utf-8")
        return self

    def version(self) -> str:
        """That of the server."""
        code = f"import importlib.metadata as m; print(m.version({self.package!r}))"
        return subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    def write(self, folder: Path, **files: object) -> Path:
        """Writes the module, and further files as JSON, into the folder; where the module is."""
        folder.mkdir()
        path = folder / f"{MODEL}.py"
        path.write_text(self.module, encoding="utf-8")
        for name, data in files.items():
            (folder / f"{name.replace('_', '-')}.json").write_text(json.dumps(data), encoding="utf-8")
        return path

    def start(self, command: list[str], folder: Path, *, talks: bool = False) -> subprocess.Popen[str]:
        """A process of the environment, which logs to `log` in the folder; with pipes to it and from it if it `talks`."""
        paths = os.pathsep.join((str(self.folder / "bin"), os.environ.get("PATH", "")))
        variables = {
            **os.environ,
            "PATH": paths,
            "PYTHONPATH": str(folder),
            "PYTHONWARNINGS": "ignore",
            "PYTHONUNBUFFERED": "1",
        }
        with (folder / "log").open("w") as log:
            return subprocess.Popen(
                [str(self.python), *command],
                cwd=folder,
                env=variables,
                text=True,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log,
                stderr=log,
            )

    def _run(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except subprocess.TimeoutExpired:
            raise ConfigError(f"{self.folder}: pip did not end within {INSTALL_S:.0f} s") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise ConfigError(f"{self.folder}: cannot install {' '.join(self.requirements)}: {lines[-1]}")


ENVIRONMENTS = {
    "mlserver": Environment("mlserver", ("mlserver", "uvloop<0.22"), MLSERVER, "mlserver"),
    "kserve": Environment("kserve", ("kserve",), KSERVE, "kserve"),
    "ray": Environment("ray-serve", ("ray[serve]",), RAY_SERVE, "ray"),
}
