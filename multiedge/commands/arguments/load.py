"""What `multiedge load` takes."""

from __future__ import annotations

import argparse

from multiedge.commands import _options
from multiedge.load import PATTERNS, TARGETS

DEFAULT_PATTERN = "poisson"
MODES = PERFORMANCE, ACCURACY = ("performance", "accuracy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = "http://HOST:PORT/v2/models/NAME, grpc://HOST:PORT/NAME, or http://HOST:PORT/v1 of OpenAI's protocol"
    parser.add_argument("url", metavar="URL", help=about)
    parser.add_argument("--model", metavar="NAME", help="the model, where the URL does not name it")
    names = ", ".join(TARGETS.names())
    parser.add_argument("--target", metavar="NAME", help=f"what speaks to the server: {names} (default: by the URL)")
    _add_schedule(parser.add_argument_group("when requests are due"))
    _add_requests(parser.add_argument_group("what they ask", "a target refuses options that it does not have"))
    _add_sending(parser.add_argument_group("how they are sent"))
    parser.add_argument("--name", metavar="NAME", help="name of the run in reports (default: that of the model)")
    _options.add_json(parser, "the results")
    _options.add_output(parser, "FILE", "write the results for `multiedge report`, JSON")


def _add_schedule(parser: argparse._ArgumentGroup) -> None:
    names = ", ".join(PATTERNS.names())
    parser.add_argument("--rate", type=float, metavar="PER_S", help="mean requests per second; of a ramp the first one")
    parser.add_argument("--pattern", metavar="NAME", default=DEFAULT_PATTERN, help=f"one of {names} (default: %(default)s)")
    _options.add_option(parser, "pattern")
    parser.add_argument("--requests", type=int, metavar="N", help="how many requests (default: as many as --seconds takes)")
    parser.add_argument("--seconds", type=float, metavar="S", help="for how long (default: 10)")
    _options.add_seed(parser, "arrivals, samples and random inputs")
    about = "find the highest rate from --rate to this one whose p99 is within --latency-bound"
    parser.add_argument("--ramp-to", type=float, metavar="PER_S", help=about)


def _add_requests(parser: argparse._ArgumentGroup) -> None:
    _options.add_inputs(parser, "one sample each (default: random numbers)")
    parser.add_argument("--samples", type=int, metavar="N", help="how many random samples are made (default: 16)")
    parser.add_argument("--prompt", action="append", default=[], metavar="TEXT", help="of a language model; repeatable")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="how long a text may become (default: 16)")
    parser.add_argument("--stream", action="store_const", const=True, help="texts in pieces: also when the first one comes")
    about = "performance sends samples at random; accuracy sends each once, and compares answers with --labels"
    parser.add_argument("--mode", choices=MODES, default=PERFORMANCE, help=f"{about} (default: %(default)s)")


def _add_sending(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--latency-bound", type=float, metavar="S", help="what 99 %% of latencies must stay within")
    parser.add_argument("--senders", type=int, metavar="N", help="processes that send (default: as many as the rate needs)")
    parser.add_argument(
        "--connections", type=int, metavar="N", help="connections in all, opened before (default: more whenever all are busy)"
    )
    parser.add_argument("--warmup", type=int, metavar="N", default=2, help="requests of each sender before (default: 2)")
    parser.add_argument(
        "--timeout", type=float, metavar="S", default=30.0, help="how long an answer may take (default: %(default)g)"
    )
    _options.add_identity(parser)
