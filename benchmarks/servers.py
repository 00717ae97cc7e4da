"""What a hop through a server costs: our node, MLServer, KServe and Ray Serve, each of which answers with what it was sent.

    python benchmarks/servers.py [--items 40] [--only NAME ...] [--json FILE]

Every server is a process of its own on loopback, without TLS unless its name says so. A hop is one request: an array goes
there and comes back. The client is this process, and sends the same messages of the Open Inference Protocol, with raw
contents, to all servers over gRPC. To Ray Serve it sends bare bytes over HTTP; `Ray Serve (handle)` is called in a process of
Ray, as deployments call each other. `our node (stream)` is a pipeline over a node, with all that keeps its items safe. All
take turns in each round. The other servers have environments of their own, which are made on first use and take minutes then.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.foreign import ENVIRONMENTS, MODEL
from benchmarks.page import Benchmark
from benchmarks.record import Figure, Measure, Record, Row, add_option
from benchmarks.tables import MISSING, markdown
from multiedge import __version__
from multiedge.defaults import LOOPBACK
from multiedge.errors import ConfigError, MultiedgeError
from multiedge.executors import open_pipeline
from multiedge.executors.flow.pipeline import Pipeline
from multiedge.fleet import Device, Fleet
from multiedge.network.identity import Identity, parse_address
from multiedge.onnx_io.manifest import digest_of, write_manifest
from multiedge.plan import CALLER, Manifest, Part, Transfer
from multiedge.serving.hub.authority import Authority
from multiedge.transports.open_inference import SERVICE, UNLIMITED_MESSAGES, grpc_module, infer_request, messages, unpack
from tests.builders.nodes import running_nodes
from tests.builders.stage_hosts import free_port

Array = npt.NDArray[Any]

SIZES = (16, 600_000)
ROUNDS = 7
DEPTH = 8
"""Requests under way in a round that is full."""
STARTS_WITHIN_S = 120.0
TIMEOUT_S = 30.0
INPUT, OUTPUT = "x", "y"


class Client(ABC):
    """Sends requests to one server."""

    version = __version__
    """That of the server."""

    @abstractmethod
    def begin(self, array: Array) -> Any:
        """Sends a request."""

    @abstractmethod
    def end(self, request: Any) -> int:
        """Waits for its answer; how many bytes came back."""

    def alone(self, array: Array, count: int) -> list[float]:
        """Seconds of each of so many requests, one after the other."""
        seconds = []
        for _ in range(count):
            begin = time.perf_counter()
            require(self.end(self.begin(array)), array)
            seconds.append(time.perf_counter() - begin)
        return seconds

    def full(self, array: Array, count: int) -> float:
        """Seconds for so many requests, DEPTH of them under way."""
        waiting: deque[Any] = deque()
        begin = time.perf_counter()
        for _ in range(count):
            if len(waiting) == DEPTH:
                require(self.end(waiting.popleft()), array)
            waiting.append(self.begin(array))
        while waiting:
            require(self.end(waiting.popleft()), array)
        return time.perf_counter() - begin


def require(nbytes: int, array: Array) -> None:
    """MultiedgeError unless an answer has as many bytes as the array."""
    if nbytes != array.nbytes:
        raise MultiedgeError(f"expected an answer of {array.nbytes} bytes, got {nbytes}")


# -- clients ------------------------------------------------------------------------------------------------------------


class GrpcClient(Client):
    """The Open Inference Protocol over gRPC."""

    def __init__(self, address: str, stop: ExitStack) -> None:
        kinds = messages()
        channel = stop.enter_context(grpc_module().insecure_channel(address, options=UNLIMITED_MESSAGES))

        def method(name: str, kind: str) -> Any:
            reply = kinds[f"{kind}Response"].FromString
            return channel.unary_unary(f"/{SERVICE}/{name}", kinds[f"{kind}Request"].SerializeToString, reply)

        self._infer, self._ready = method("ModelInfer", "ModelInfer"), method("ModelReady", "ModelReady")
        self._readiness = kinds["ModelReadyRequest"](name=MODEL)

    @property
    def is_ready(self) -> bool:
        with suppress(grpc_module().RpcError):
            return bool(self._ready(self._readiness, timeout=1.0).ready)
        return False

    def begin(self, array: Array) -> Any:
        return self._infer.future(infer_request(MODEL, 0, {INPUT: array}, ()), timeout=TIMEOUT_S)

    def end(self, request: Any) -> int:
        answer = request.result()
        return sum(made.nbytes for made in unpack(answer.outputs, answer.raw_output_contents).values())

    def alone(self, array: Array, count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            begin = time.perf_counter()
            answer = self._infer(infer_request(MODEL, 0, {INPUT: array}, ()), timeout=TIMEOUT_S)
            require(sum(made.nbytes for made in unpack(answer.outputs, answer.raw_output_contents).values()), array)
            seconds.append(time.perf_counter() - begin)
        return seconds


class HttpClient(Client):
    """Bytes over HTTP, on connections that stay open: `request` says what is sent for an array."""

    def __init__(self, host: str, port: int, request: Callable[[Array], Mapping[str, Any]], stop: ExitStack) -> None:
        self._host, self._port, self._request = host, port, request
        self._pool = stop.enter_context(ThreadPoolExecutor(DEPTH))
        self._local = threading.local()

    def begin(self, array: Array) -> Future[int]:
        return self._pool.submit(self._post, array)

    def end(self, request: Future[int]) -> int:
        return request.result(TIMEOUT_S)

    def alone(self, array: Array, count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            begin = time.perf_counter()
            require(self._post(array), array)
            seconds.append(time.perf_counter() - begin)
        return seconds

    def _post(self, array: Array) -> int:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        connection: http.client.HTTPConnection = self._local.connection
        connection.request("POST", **self._request(array))
        answer = connection.getresponse()
        head = int(answer.headers.get("Inference-Header-Content-Length", 0))
        data = answer.read()
        if answer.status != http.client.OK:
            raise MultiedgeError(f"status {answer.status}: {data[:80]!r}")
        return np.frombuffer(data, np.uint8, offset=head).nbytes


def bare_request(array: Array) -> dict[str, Any]:
    """The bytes of the array alone."""
    return {"url": "/", "body": array.tobytes()}


def inference_request(array: Array) -> dict[str, Any]:
    """The Open Inference Protocol over HTTP, with its extension for binary tensors."""
    described = {"name": INPUT, "datatype": "FP32", "shape": array.shape, "parameters": {"binary_data_size": array.nbytes}}
    head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return {"url": f"/v2/models/{MODEL}/infer", "body": head + array.tobytes(), "headers": headers}


class StreamClient(Client):
    """A pipeline of one stage."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._executor, self._numbers = pipeline.executor, iter(range(1 << 62))
        self._nbytes: dict[int, int] = {}

    def begin(self, array: Array) -> int:
        number = next(self._numbers)
        self._executor.submit(number, {INPUT: array})
        return number

    def end(self, request: int) -> int:
        while request not in self._nbytes:
            for result in self._executor.poll(0.5):
                self._nbytes[result.item] = result.require()[OUTPUT].nbytes
        return self._nbytes.pop(request)


class ProcessClient(Client):
    """A process that measures by itself: it answers each line, `[bytes, requests, requests under way]`, with seconds."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, array: Array) -> None:
        raise NotImplementedError

    def end(self, request: None) -> int:
        raise NotImplementedError

    def alone(self, array: Array, count: int) -> list[float]:
        seconds: list[float] = self._ask(array.nbytes, count, 0)
        return seconds

    def full(self, array: Array, count: int) -> float:
        seconds: float = self._ask(array.nbytes, count, DEPTH)
        return seconds

    def _ask(self, *request: int) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


# -- servers ------------------------------------------------------------------------------------------------------------


def identity_plan(folder: Path) -> Manifest:
    """A plan of one stage on the device 'd0', which passes its input on."""
    folder.mkdir()
    (folder / "identity.json").write_text(json.dumps({"inputs": [INPUT], "outputs": {OUTPUT: INPUT}}))
    path = folder / "identity.json"
    part = Part(0, path.name, "d0", (INPUT,), (OUTPUT,), {path.name: digest_of(path)})
    moves = (Transfer(CALLER, 0, (INPUT,), SIZES[-1]), Transfer(0, CALLER, (OUTPUT,), SIZES[-1]))
    manifest = Manifest(MODEL, "", (INPUT,), (OUTPUT,), (part,), moves, "none", str(folder))
    write_manifest(manifest)
    return manifest


def _serve(path: str, address: Any) -> None:
    """What the process of our server runs."""
    from multiedge.backends.synthetic import SyntheticBackend
    from multiedge.serving.server import StageServer

    with StageServer({MODEL: SyntheticBackend().open(Path(path))}, http=(LOOPBACK, 0)) as server:
        address.send((server.address, server.http_address))
        server.wait()


@contextmanager
def our_server(folder: Path) -> Iterator[dict[str, Client]]:
    identity_plan(folder)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_serve, args=(str(folder / "identity.json"), theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(STARTS_WITHIN_S):
            raise MultiedgeError("our server did not start")
        grpc_address, http_address = ours.recv()
        with ExitStack() as stop:
            yield {
                "our node (gRPC)": GrpcClient(grpc_address, stop),
                "our node (HTTP)": HttpClient(*parse_address(http_address), inference_request, stop),
            }
    finally:
        process.kill()
        process.join()


@contextmanager
def our_stream(folder: Path, *, is_secure: bool = False) -> Iterator[dict[str, Client]]:
    manifest = identity_plan(folder)
    fleet = Fleet((Device("d0", backend="synthetic"),))
    options: dict[str, Any] = {}
    of_node: Identity | None = None
    if is_secure:
        authority = Authority.create(folder / "hub")
        of_node = authority.issue(folder / "node", "node:d0")
        options["identity"] = str(authority.issue(folder / "caller", "client:bench").folder)
    with running_nodes(["d0"], [folder], {"d0": of_node.folder} if of_node else {}) as nodes:
        options["nodes"] = {"d0": nodes["d0"].address}
        with open_pipeline(manifest, fleet, "fleet", depth=DEPTH, record_events=False, **options) as pipeline:
            yield {f"our node (stream{', TLS' if is_secure else ''})": StreamClient(pipeline)}


@contextmanager
def our_secure_stream(folder: Path) -> Iterator[dict[str, Client]]:
    with our_stream(folder, is_secure=True) as clients:
        yield clients


@contextmanager
def mlserver(folder: Path) -> Iterator[dict[str, Client]]:
    environment = ENVIRONMENTS["mlserver"].make()
    ports = {name: free_port() for name in ("http_port", "grpc_port", "metrics_port")}
    settings = {"host": LOOPBACK, **ports, "parallel_workers": 0, "debug": False, "metrics_endpoint": None}
    model = {"name": MODEL, "implementation": f"{MODEL}.Identity"}
    environment.write(folder, settings=settings, model_settings=model)
    command = [str(environment.folder / "bin" / "mlserver"), "start", "."]
    with _ended(environment.start(command, folder)) as process, ExitStack() as stop:
        client = GrpcClient(f"{LOOPBACK}:{ports['grpc_port']}", stop)
        wait_ready(client, process, folder)
        client.version = environment.version()
        yield {"MLServer (gRPC)": client}


@contextmanager
def kserve(folder: Path) -> Iterator[dict[str, Client]]:
    environment = ENVIRONMENTS["kserve"].make()
    path, ports = environment.write(folder), (free_port(), free_port())
    with _ended(environment.start([str(path), *map(str, ports)], folder)) as process, ExitStack() as stop:
        client = GrpcClient(f"{LOOPBACK}:{ports[1]}", stop)
        wait_ready(client, process, folder)
        client.version = environment.version()
        yield {"KServe (gRPC)": client}


@contextmanager
def ray_serve(folder: Path) -> Iterator[dict[str, Client]]:
    environment = ENVIRONMENTS["ray"].make()
    path, port = environment.write(folder), free_port()
    with _ended(environment.start([str(path), str(port)], folder, talks=True)) as process, ExitStack() as stop:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise MultiedgeError(_last_line(folder))
        clients = {
            "Ray Serve (handle)": ProcessClient(process),
            "Ray Serve (HTTP)": HttpClient(LOOPBACK, port, bare_request, stop),
        }
        for client in clients.values():
            client.version = environment.version()
        yield clients


SERVERS: Mapping[str, Callable[[Path], AbstractContextManager[dict[str, Client]]]] = {
    "stream": our_stream,
    "secure-stream": our_secure_stream,
    "protocol": our_server,
    "mlserver": mlserver,
    "kserve": kserve,
    "ray": ray_serve,
}


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block: it is told to, so that it ends its own."""
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_ready(client: GrpcClient, process: subprocess.Popen[str], folder: Path) -> None:
    """Returns when the server is ready; MultiedgeError with the last line of its log if it ends or takes too long."""
    until_s = time.monotonic() + STARTS_WITHIN_S
    while not client.is_ready:
        if process.poll() is not None or time.monotonic() > until_s:
            raise MultiedgeError(_last_line(folder))
        time.sleep(0.2)


def _last_line(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").strip().splitlines() or ["no log"]
    return f"the server did not start: {lines[-1]}"


# -- all of it ----------------------------------------------------------------------------------------------------------


def measure(items: int, names: Sequence[str] = tuple(SERVERS)) -> list[Row]:
    """Rows by server and size; a server that cannot be started has one that says why."""
    clients: dict[str, Client] = {}
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        for name in names:
            try:
                clients |= running.enter_context(SERVERS[name](Path(folder, name)))
            except (ConfigError, MultiedgeError, OSError) as error:
                rows.append(Row({"server": name}, failure=str(error)))
        for nbytes in SIZES:
            array = np.zeros(nbytes // 4, np.float32)
            for client in clients.values():
                client.full(array, 2 * DEPTH)
            rounds = [{name: _round(client, array, items) for name, client in clients.items()} for _ in range(ROUNDS)]
            rows += [_row(name, client, nbytes, [each[name] for each in rounds]) for name, client in clients.items()]
    return rows


def _round(client: Client, array: Array, items: int) -> tuple[list[float], float]:
    return client.alone(array, items), client.full(array, 2 * items) / items / 2


def _row(name: str, client: Client, nbytes: int, rounds: Sequence[tuple[list[float], float]]) -> Row:
    figures = {
        "alone_s": Figure.of(seconds for alone_s, _ in rounds for seconds in alone_s),
        "full_s": Figure.of(full_s for _, full_s in rounds),
    }
    return Row({"server": name, "nbytes": nbytes}, figures, details={"version": client.version})


OURS = "our node"


def section(record: Record) -> str:
    """What the record says, and its table."""
    rows = [row for row in record.rows if not row.failure]
    sizes = list(dict.fromkeys(int(row.case["nbytes"]) for row in rows))
    heads = ["microseconds per hop", *(f"{size:,} B, {load}" for size in sizes for load in ("alone", "full"))]
    names = dict.fromkeys(str(row.case["server"]) for row in rows)
    versions = {str(row.case["server"]).partition(" (")[0]: str(row.details["version"]) for row in rows}
    others = ", ".join(f"{name} {version}" for name, version in versions.items() if name != OURS)
    lines = [[name, *(_us(record.row(server=name, nbytes=size), of) for size in sizes for of in MEASURES)] for name in names]
    beside = " ".join(filter(None, (_beside(rows, size) for size in sizes)))
    rest = f'"alone" is one request at a time, "full" with {DEPTH} under way.{f" Versions: {others}." if others else ""}'
    return f"{beside or 'Nothing was compared.'}\n\n{markdown(heads, lines)}\n\n{rest}"


def _beside(rows: Sequence[Row], nbytes: int) -> str:
    """How much longer the quickest of the others takes than our quickest, in a sentence; '' without one of them."""
    medians = {str(row.case["server"]): row.median("alone_s") or 0.0 for row in rows if row.case["nbytes"] == nbytes}
    ours = {name: median for name, median in medians.items() if name.startswith(OURS)}
    others = {name: median for name, median in medians.items() if name not in ours}
    if not ours or not others:
        return ""
    our, other = min(ours, key=ours.__getitem__), min(others, key=others.__getitem__)
    ratio = others[other] / ours[our]
    return f"With {nbytes:,} bytes {other}, the quickest of the others, takes {ratio:.1f} times as long as {our}."


def _us(row: Row, measure: str) -> str:
    figure = row.figures.get(measure)
    if figure is None:
        return MISSING
    if measure != "alone_s" or figure.low is None or figure.high is None:
        return f"{figure.median * 1e6:,.0f}"
    return f"{figure.median * 1e6:,.0f} ({figure.low * 1e6:,.0f} to {figure.high * 1e6:,.0f})"


MEASURES = {
    "alone_s": Measure("s", "a request to its answer, one at a time"),
    "full_s": Measure("s", f"per request, with {DEPTH} under way"),
}
BENCHMARK = Benchmark("servers", "A hop through a server: ours, MLServer, KServe and Ray Serve", MEASURES, section)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=40, help="requests of each in a round (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(SERVERS), default=list(SERVERS), help="which ones (default: all)")
    add_option(parser)
    args = parser.parse_args()
    settings = {"items": args.items, "rounds": ROUNDS, "depth": DEPTH}
    return BENCHMARK.finish(settings, lambda: measure(args.items, args.only), args.json)


if __name__ == "__main__":
    sys.exit(main())
