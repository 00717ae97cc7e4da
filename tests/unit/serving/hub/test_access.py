import pytest

from multiedge.serving.hub.access import is_own_state, refusal_of


@pytest.mark.parametrize(
    ("who", "method", "path", "reason"),
    [
        ("", "GET", "/v1/join", ""),
        ("", "POST", "/v1/join", ""),
        ("", "GET", "/v1/nodes", "expected a client with a certificate"),
        ("", "GET", "/v1/join/x", "expected a client with a certificate"),
        ("node:a", "POST", "/v1/heartbeat", ""),
        ("node:a", "POST", "/v1/runs", ""),
        ("", "GET", "/live", "a browser has no certificate"),
        ("node:a", "GET", "/v1/blobs/x", ""),
        ("node:a", "PUT", "/v1/blobs/x", "'node:a' may not make this request"),
        ("node:a", "POST", "/v1/models", "'node:a' may not make this request"),
        ("node:a", "DELETE", "/v1/deployments/x", "'node:a' may not make this request"),
        ("client:admin", "DELETE", "/v1/deployments/x", ""),
        ("hub", "PUT", "/v1/plans/x", "'hub' may not make this request"),
        ("clients:x", "PUT", "/v1/plans/x", "'clients:x' may not make this request"),
    ],
)
def test_who_may_do_what(who: str, method: str, path: str, reason: str) -> None:
    refusal = refusal_of(who, method, path)
    assert refusal.startswith(reason)
    assert bool(refusal) == bool(reason)


def test_a_node_reports_its_own_state_alone() -> None:
    assert is_own_state("node:a", "a")
    assert is_own_state("client:loopback", "a")
    assert not is_own_state("node:a", "b")
    assert not is_own_state("client:admin", "a")
