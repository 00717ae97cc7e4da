import pytest

from multiedge.errors import ConfigError, NetworkError
from multiedge.network.encoding import decode, require_name, require_sha256
from multiedge.network.records import NodeState


@pytest.mark.parametrize("name", ["a", "phone-1", "Jetson.local", "x" * 63])
def test_a_name_that_certificates_and_paths_can_hold_is_taken(name: str) -> None:
    assert require_name("--name", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "-a", "a\n", "ü", "x" * 64, "a:b"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^--name: expected a name"):
        require_name("--name", name)


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_what_is_no_digest_is_refused_before_it_names_a_file(digest: str) -> None:
    with pytest.raises(NetworkError, match=r"^pool: expected 64 hexadecimal digits"):
        require_sha256("pool", digest)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "node 1: not valid JSON"),
        ("[]", "node 1: expected a mapping"),
        ('{"name": 3, "address": "a"}', "node 1: name: expected a text, got 3"),
        ('{"name": "a"}', "node 1: address: missing"),
        ('{"name": "a", "address": "b", "stages": [{"deployment": "d", "stage": "x"}]}', r"node 1: stages\[0\].stage"),
    ],
)
def test_a_damaged_message_is_an_error_that_names_the_place(text: str, error: str) -> None:
    with pytest.raises(NetworkError, match=f"^{error}"):
        decode(NodeState, text, "node 1")
