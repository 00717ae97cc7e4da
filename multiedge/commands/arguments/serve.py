"""What `multiedge serve` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.commands._serving import add_http, add_max_message
from multiedge.defaults import DEFAULT_PORT, LOOPBACK
from multiedge.fleet import AUTO_BACKEND


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = "folder that `multiedge split` or `plan -o` wrote, or an ONNX file or workflow.yaml to serve whole"
    parser.add_argument("plan", metavar="PLAN_DIR|MODEL", help=about)
    parser.add_argument("--device", metavar="NAME", help="only the stages that the plan gives to this device (default: all)")
    parser.add_argument("--host", default=LOOPBACK, help=f"address to listen on (default: {LOOPBACK}, this machine only)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port of gRPC, 0: a free one (default: {DEFAULT_PORT})")
    add_http(parser)
    about = "folder with ca.pem, cert.pem and key.pem: gRPC and HTTP use TLS, and clients need a certificate of this CA"
    parser.add_argument("--identity", metavar="DIR", help=about)
    _options.add_backend(parser, "all stages", AUTO_BACKEND)
    _options.add_precision(parser)
    _options.add_option(parser, "backend")
    add_max_message(parser)
    _options.add_type(parser, "type of this device, as in a devices.yaml")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each stage (default: 1)")
