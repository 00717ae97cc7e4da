"""`multiedge controller`: makes services of HeteroInferenceServices of a Kubernetes cluster, until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from multiedge.defaults import DEFAULT_CONTROLLER_PORT
from multiedge.network.identity import parse_address
from multiedge.serving.kubernetes.address import require_url


def run(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM, which both end it with status 0; the address is printed once it listens."""
    host, port = parse_address(args.listen, "--listen", DEFAULT_CONTROLLER_PORT)
    url = require_url("--url", args.url) if args.url else ""
    from multiedge.serving.kubernetes.operator import OperatorOptions, serve

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("multiedge.kubernetes").setLevel(logging.INFO)
    asyncio.run(serve(OperatorOptions(host, port, url, args.image, tuple(args.namespace)), _listens))
    return 0


def _listens(address: str, url: str) -> None:
    print(f"controller {address}, workers report to {url}", flush=True)
    print("stop with Ctrl-C", file=sys.stderr, flush=True)
