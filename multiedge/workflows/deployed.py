"""The function of a step that asks a server of the Open Inference Protocol over HTTP, with raw contents behind the JSON."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import numpy.typing as npt

from multiedge.errors import PipelineError, StageError, one_line
from multiedge.formats.documents import parse_json
from multiedge.formats.fields import Field, Kind
from multiedge.transports.open_inference import decode_raw, dtype_of, encode_raw

TIMEOUT_S = 30.0
HEADER = "Inference-Header-Content-Length"

_REPLY = Kind("reply", PipelineError)
_open = threading.local()
"""The connections of this thread, by URL: each is used by one request at a time."""


def ask(*, url: str, model: str, results: Sequence[str], **inputs: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The outputs of a model on a server.

    Args:
        url: The server, such as 'http://host:8000'.
        model: Name of the model there.
        results: Names of the outputs.
        **inputs: Arrays by the names of the model's inputs.

    Returns:
        Arrays by name.

    Raises:
        StageError: If the server cannot be reached, refuses the request, or gives a reply that is not understood.
    """
    head, body = _request(inputs, results)
    place = f"{url}/{model}"
    try:
        status, size, content = _post(url, f"/v2/models/{quote(model)}/infer", head + body, len(head))
    except (OSError, HTTPException, ValueError) as error:
        raise StageError(
            f"{place}: the server cannot be reached: {one_line(error)}; start it, or change the workflow"
        ) from error
    if status != 200:
        raise StageError(f"{place}: the server refused the request with {status}: {_excerpt(content)}")
    try:
        arrays = _decoded(content, size, place)
    except PipelineError as error:
        raise StageError(str(error)) from error
    missing = [name for name in results if name not in arrays]
    if missing:
        raise StageError(
            f"{place}: expected outputs {', '.join(results)}, got {', '.join(arrays) or 'none'}; correct 'outputs'"
        )
    return {name: arrays[name] for name in results}


def _request(inputs: Mapping[str, npt.NDArray[Any]], results: Sequence[str]) -> tuple[bytes, bytes]:
    """The JSON of a request, and the contents behind it."""
    described, contents = [], []
    for name, array in inputs.items():
        datatype, raw = encode_raw(name, array)
        parameters = {"binary_data_size": len(raw)}
        described.append({"name": name, "datatype": datatype, "shape": list(array.shape), "parameters": parameters})
        contents.append(raw)
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in results]
    return json.dumps({"inputs": described, "outputs": outputs}).encode(), b"".join(contents)


def _post(url: str, path: str, body: bytes, json_bytes: int) -> tuple[int, int | None, bytes]:
    """Status, size of the JSON (None for all) and body of the reply. A connection that was closed is opened again."""
    headers = {"Content-Type": "application/octet-stream", HEADER: str(json_bytes)}
    connections = _connections()
    was_open = url in connections
    connection = connections.pop(url, None) or _connected(url)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        content = response.read()
    except (ConnectionError, HTTPException):
        connection.close()
        if was_open:
            return _post(url, path, body, json_bytes)
        raise
    except OSError:
        connection.close()
        raise
    connections[url] = connection
    size = response.getheader(HEADER)
    return response.status, int(size) if size and size.isdecimal() else None, content


def close_connections() -> None:
    """Closes those that this thread has kept open."""
    connections = _connections()
    while connections:
        connections.popitem()[1].close()


def _connections() -> dict[str, HTTPConnection]:
    kept: dict[str, HTTPConnection] = _open.__dict__.setdefault("connections", {})
    return kept


def _connected(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(parts.netloc, timeout=TIMEOUT_S)


def _excerpt(content: bytes) -> str:
    text = content[:300].decode(errors="replace").strip()
    return " ".join(text.split()) or "no reason given"


def _decoded(content: bytes, size: int | None, place: str) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a reply: raw ones from behind the JSON, others from its lists."""
    rest, at = memoryview(b"" if size is None else content)[size or 0 :], 0
    arrays = {}
    for output in parse_json(content[:size], place, _REPLY)["outputs"].items():
        name, datatype = output["name"].text(), output["datatype"].text()
        shape = output["shape"].list_of(Field.count)
        nbytes = output["parameters"]["binary_data_size"].optional(Field.count) if "parameters" in output else None
        if nbytes is None:
            arrays[name] = _listed(output["data"], datatype, shape)
        else:
            arrays[name] = decode_raw(name, datatype, shape, rest[at : at + nbytes])
            at += nbytes
    return arrays


def _listed(data: Field, datatype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    try:
        return np.array(data.data(), dtype=dtype_of(datatype)).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise data.error(f"expected {datatype} of shape {list(shape)}: {one_line(error)}") from error
