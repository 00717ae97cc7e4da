"""Load on a server that is already there: requests are sent when they are due, whatever becomes of the earlier ones.

The schedule is fixed by a seed before the first request is sent, latency counts from the time at which a request was due, and a
run whose requests were sent late is INVALID. Both kinds of what can be chosen have a table:

- a *pattern* (`multiedge.load.patterns`) says when requests are due;
- a *target* (`multiedge.load.contract.Target`) makes requests of a protocol and reads their answers.
"""

from __future__ import annotations

from multiedge.registry import Registry

PATTERNS = Registry(
    "pattern",
    {
        "poisson": "multiedge.load.patterns:Poisson",
        "constant": "multiedge.load.patterns:Constant",
        "gamma": "multiedge.load.patterns:Gamma",
        "replay": "multiedge.load.replay:Replay",
    },
)
TARGETS = Registry(
    "target",
    {
        "open-inference": "multiedge.load.open_inference:OpenInferenceHttp",
        "open-inference-grpc": "multiedge.load.open_inference:OpenInferenceGrpc",
        "openai": "multiedge.load.completions:Completions",
    },
)
WIRES = Registry(
    "wire",
    {
        "http": "multiedge.load.http_wire:HttpWire",
        "grpc": "multiedge.load.grpc_wire:GrpcWire",
    },
)
"""How bytes travel to a target; a target names its own."""

__all__ = ["PATTERNS", "TARGETS", "WIRES"]
