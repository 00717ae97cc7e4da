"""The options of the front end that nodes and hubs have: where it listens, how requests are answered, and what is kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multiedge.commands._options import Place, read_size, require_with
from multiedge.commands._serving import add_serving, serving_options
from multiedge.errors import ConfigError, describe

if TYPE_CHECKING:
    from multiedge.network.identity import Identity
    from multiedge.serving.front.front import FrontOptions
    from multiedge.serving.front.offload import Band, OffloadRules
    from multiedge.serving.inference.server import ServerOptions

FOLDER = "front"
"""The folder of stored requests, below the data folder."""
MODES = ("on", "off", "auto", "request")
_HAVE_SERVER = ("callback_to", "keep_answers", "keep_size", "deadline_factor", "hedge_factor")
_OF_OFFLOAD = ("offload", "offload_busy", "offload_battery", "offload_link", "offload_input")


def add_front(parser: argparse.ArgumentParser) -> Place:
    """The options of a front end, which `server_options` and `front_options` read; the group that they are in."""
    front = parser.add_argument_group("front end", "answers requests for the deployments of the hub")
    add_serving(front)
    front.add_argument(
        "--callback-to",
        action="append",
        metavar="URL",
        help="results may be sent to addresses that begin so, if a request gives one; repeatable (default: none)",
    )
    front.add_argument("--keep-answers", type=float, metavar="H", help="hours for which answers are kept by id (default: 24)")
    front.add_argument("--keep-size", metavar="SIZE", help="what these answers may take (default: 1GiB)")
    front.add_argument(
        "--deadline-factor", type=float, metavar="K", help="try the next plan after K times the p99 of one (default: 4)"
    )
    front.add_argument(
        "--hedge-factor", type=float, metavar="K", help="ask a second plan as well after K times the p99 (default: never)"
    )
    return front


def add_offload(parser: argparse.ArgumentParser) -> None:
    """The options of the offload switch; `front_options` reads them."""
    offload = parser.add_argument_group("offloading", "whether requests to the front end may leave this device")
    offload.add_argument(
        "--offload",
        choices=MODES,
        help="'auto': by the conditions below; 'request': as the latest request that states it (default: on)",
    )
    offload.add_argument("--offload-busy", metavar="LOW,HIGH", help="on while this share of the processors is busy, as 0.5,0.8")
    offload.add_argument("--offload-battery", metavar="LOW,HIGH", help="on while the charge is low, as 0.2,0.4")
    offload.add_argument("--offload-link", metavar="LOW,HIGH", help="off while requests to others take so many ms, as 50,100")
    offload.add_argument("--offload-input", metavar="NAME", help="boolean input of a request that states it (default: offload)")


def server_options(args: argparse.Namespace, identity: Identity | None) -> ServerOptions | None:
    """Where the front end listens; None for nowhere. ConfigError for options that have no effect then, and beyond this machine
    without an identity. On this machine alone clients need no certificate."""
    addresses = [each for each in (args.serve_grpc, args.serve_http) if each is not None]
    if not addresses:
        for name in (*_HAVE_SERVER, *_OF_OFFLOAD):
            if name in vars(args):
                require_with(args, name, "serve_grpc", "serve_http")
        return None
    from multiedge.network.identity import is_loopback, parse_address

    is_local = all(is_loopback(parse_address(each, "--serve")[0]) for each in addresses)
    return serving_options(args, None if is_local else identity)


def front_options(args: argparse.Namespace, folder: Path) -> FrontOptions:
    """How the front end serves, with its files below the data folder."""
    from multiedge.serving.front.attempts import AttemptRules
    from multiedge.serving.front.callbacks import Receivers
    from multiedge.serving.front.front import FrontOptions
    from multiedge.serving.front.model import DEFAULT_SWITCH_INPUT, ModelRules
    from multiedge.serving.front.requests import Retention

    factor = {} if args.deadline_factor is None else {"deadline_factor": args.deadline_factor}
    attempts = AttemptRules(hedge_factor=args.hedge_factor, **factor)
    name = vars(args).get("offload_input")
    age = {} if args.keep_answers is None else {"age_s": args.keep_answers * 3600}
    size = {} if args.keep_size is None else {"most_bytes": read_size("--keep-size", args.keep_size)}
    return FrontOptions(
        folder / FOLDER,
        ModelRules(attempts, switch_input=name or DEFAULT_SWITCH_INPUT),
        offload=_offload(args),
        retention=Retention(**age, **size),
        receivers=Receivers(tuple(args.callback_to or ())),
    )


def _offload(args: argparse.Namespace) -> OffloadRules:
    from multiedge.serving.front.offload import OffloadMode, OffloadRules

    given = vars(args)
    return OffloadRules(
        OffloadMode(given.get("offload") or MODES[0]),
        _band("--offload-busy", given.get("offload_busy")),
        _band("--offload-battery", given.get("offload_battery")),
        _band("--offload-link", given.get("offload_link"), 1e-3),
    )


def _band(option: str, text: str | None, unit: float = 1.0) -> Band | None:
    """The two thresholds in the text of an option, in SI units; None without it."""
    from multiedge.serving.front.offload import Band

    if text is None:
        return None
    try:
        low, high = (float(part) * unit for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option}: expected two numbers such as 0.5,0.8, got {describe(text)}") from None
    return Band(low, high)
