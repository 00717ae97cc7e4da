from pathlib import Path

import pytest

from multiedge.errors import ConfigError
from multiedge.network.identity import Identity, find_identity, join_address, name_in, parse_address, require_tls


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a:1", ("a", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::1]:80", ("::1", 80)),
        ("pc", ("pc", 7)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, "--hub", 7) == address


@pytest.mark.parametrize("text", ["", ":1", "a:", "a:b", "a:65536", "a:-1", "a:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--hub: expected HOST:PORT, got"):
        parse_address(text, "--hub")


def test_an_address_is_written_as_it_is_read() -> None:
    assert parse_address(join_address("::1", 5)) == ("::1", 5)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_on_loopback_no_tls_is_needed(host: str) -> None:
    require_tls(host, None, "hub")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_beyond_loopback_listening_without_tls_is_refused_with_the_remedy(host: str) -> None:
    with pytest.raises(ConfigError, match="TLS is needed; make certificates with `multiedge hub init`"):
        require_tls(host, None, "hub")


def test_a_certificate_names_its_holder() -> None:
    assert name_in({"subjectAltName": (("DNS", "x"), ("URI", "other:y"), ("URI", "multiedge:node:phone"))}) == "node:phone"
    assert name_in({}) == name_in(None) == ""


def test_a_folder_without_an_identity_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no ca.pem; expected the folder of an identity, which `multiedge hub init`"):
        find_identity(tmp_path)
    with pytest.raises(ConfigError, match="join again with a token"):
        Identity(tmp_path).client_context()


def test_the_environment_names_the_identity_where_no_option_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MULTIEDGE_IDENTITY", raising=False)
    assert find_identity() is None
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    monkeypatch.setenv("MULTIEDGE_IDENTITY", str(tmp_path))
    assert find_identity() == Identity(tmp_path)
