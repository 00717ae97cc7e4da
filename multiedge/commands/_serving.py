"""The options with which nodes and hubs answer clients of the Open Inference Protocol."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from multiedge.commands._options import Place, read_size
from multiedge.errors import ConfigError, describe

if TYPE_CHECKING:
    from multiedge.network.identity import Identity
    from multiedge.serving.inference.server import Address, ServerOptions

GRPC, HTTP = "--serve-grpc", "--serve-http"


def add_serving(parser: Place) -> None:
    """The options --serve-grpc, --serve-http and --max-message; `serving_options` reads them."""
    about = "answer clients of the Open Inference Protocol over {} here, port 0 for a free one (default: off)"
    parser.add_argument(GRPC, metavar="HOST:PORT", help=about.format("gRPC"))
    parser.add_argument(HTTP, metavar="HOST:PORT", help=about.format("HTTP"))
    add_max_message(parser)


def add_http(parser: Place) -> None:
    """The option --serve-http alone, beside an address for gRPC."""
    parser.add_argument(HTTP, metavar="HOST:PORT", help="answer over HTTP as well, port 0 for a free one (default: off)")


def add_max_message(parser: Place) -> None:
    parser.add_argument(
        "--max-message", metavar="SIZE", default="256MiB", help="how large a request of a client may be (default: %(default)s)"
    )


def serving_options(args: argparse.Namespace, identity: Identity | None) -> ServerOptions | None:
    """Where to listen; None if neither option is given. ConfigError beyond this machine without an identity."""
    if args.serve_grpc is None and args.serve_http is None:
        return None
    from multiedge.serving.inference.server import ServerOptions

    grpc, http = read_address(args.serve_grpc, GRPC, identity), read_address(args.serve_http, HTTP, identity)
    return ServerOptions(grpc, http, identity, message_bytes(args.max_message))


def read_address(text: str | None, option: str, identity: Identity | None) -> Address | None:
    """Host and port of an option; ConfigError beyond this machine without an identity."""
    if text is None:
        return None
    from multiedge.network.identity import parse_address, require_tls

    address = parse_address(text, option)
    require_tls(address[0], identity, option)
    return address


def message_bytes(text: str) -> int:
    """Bytes of a --max-message; ConfigError for one that is no size, or that gRPC cannot limit to."""
    from multiedge.serving.inference.server import LARGEST_MESSAGE_BYTES

    nbytes = read_size("--max-message", text, least=0)
    if not 0 < nbytes <= LARGEST_MESSAGE_BYTES:
        raise ConfigError(f"--max-message: expected more than 0 and less than 2GiB, got {describe(text)}")
    return nbytes
