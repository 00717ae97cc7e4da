"""How named tensors move between stages on one machine, and the emulated link that they move over."""

from multiedge.registry import Registry

TRANSPORTS = Registry(
    "transport",
    {
        "shared-memory": "multiedge.transports.shared_memory:SharedMemoryEndpoint",
        "pipe": "multiedge.transports.pipe:PipeEndpoint",
        "tcp": "multiedge.transports.tcp:TcpEndpoint",
    },
)
