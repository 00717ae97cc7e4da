"""How named tensors move between stages on one machine, and the emulated link that they move over."""

from multiedge.registry import Registry

MAPPED_MESSAGES = 5
"""Messages of one transfer that each of its ends maps: as many as items are under way in a pipeline of two stages, unless
`depth` or slow links make it more."""

TRANSPORTS = Registry(
    "transport",
    {
        "shared-memory": "multiedge.transports.shared_memory:SharedMemoryEndpoint",
        "pipe": "multiedge.transports.pipe:PipeEndpoint",
        "tcp": "multiedge.transports.tcp:TcpEndpoint",
        "tls": "multiedge.transports.tls:TlsEndpoint",
    },
)
