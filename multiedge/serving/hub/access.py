"""Who may make which request of a hub."""

from __future__ import annotations

from multiedge.network.identity import CLIENT, NODE
from multiedge.serving.hub.joining import PATH as JOIN
from multiedge.serving.seeing.pages import LIVE

ANYBODY_ON_LOOPBACK = f"{CLIENT}loopback"
"""Who makes a request of a hub without TLS, which listens on loopback only."""
HEARTBEAT, RUNS = "/v1/heartbeat", "/v1/runs"


def refusal_of(who: str, method: str, path: str) -> str:
    """Why `who`, a name in a certificate or '' without one, may not make the request; '' if it may.

    Without a certificate one may join. Nodes read, and report their own state and their own runs. Clients do everything.
    """
    if path == JOIN or who.startswith(CLIENT):
        return ""
    if not who and path.startswith(LIVE):
        return "a browser has no certificate; on a machine with the identity of a client: multiedge fleet --hub HOST --live"
    if not who:
        return "expected a client with a certificate; join with a token of `multiedge hub token`, then give --identity FOLDER"
    if who.startswith(NODE) and (method in ("GET", "HEAD") or (method, path) in (("POST", HEARTBEAT), ("POST", RUNS))):
        return ""
    return f"'{who}' may not make this request; use the identity of a client"


def is_own_state(who: str, node: str) -> bool:
    """Whether `who` may report the state of the node."""
    return who in (f"{NODE}{node}", ANYBODY_ON_LOOPBACK)
