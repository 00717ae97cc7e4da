"""What is taken where nothing is stated: one value for the library and for the help of the command line, which imports no more
than this."""

DEFAULT_STRATEGY = "throughput"
DEFAULT_PROFILER = "static"
DEFAULT_EXECUTOR = "processes"

DEFAULT_TOLERANCE = 1e-4
"""Largest relative error that `multiedge check` passes."""

LOOPBACK = "127.0.0.1"
"""Where `multiedge serve` listens: for this machine only."""
DEFAULT_PORT = 8081
DEFAULT_HUB_PORT = 8470
"""Where `multiedge hub run` listens."""
DEFAULT_NODE_PORT = 8471
"""Where `multiedge node` listens."""
DEFAULT_LIVE_PORT = 8472
"""Where `multiedge fleet --live` listens."""
DEFAULT_CONTROLLER_PORT = 8480
"""Where `multiedge controller` listens for the messages of workers."""

AUDIT_TIME_LIMIT_S = 60.0
"""How long `multiedge verify` searches for a bound of its own."""

CONVERSION_LIMIT_S = 1800.0
"""How long the conversion of a part may take."""

REPLAN_TOLERANCE = 0.05
"""What an adapted plan may lose to spare moves of weights."""

DEFAULT_ROW_KINDS = ("fastest", "quickest", "energy", "local", "fallback", "branches", "float16")
"""The plans of a table, where no kinds are given (`multiedge.table`)."""
ROW_KINDS = (*DEFAULT_ROW_KINDS, "first", "last", "both")

DEFAULT_MAX_TOKENS = 128
"""After how many tokens a generated text ends at the latest."""
DEFAULT_DRAFT_TOKENS = 4
"""How many tokens a draft proposes for a step."""
