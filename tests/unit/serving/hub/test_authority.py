import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from multiedge.errors import ConfigError
from multiedge.network.identity import Identity, name_in
from multiedge.serving.hub.authority import Authority, Token, check_token, new_request, require_holder


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("hub"))


@pytest.mark.parametrize(
    ("changes", "holder", "now_s", "is_known", "reason"),
    [
        ({}, "node:pc", 5.0, False, ""),
        ({}, "node:pc", 100.0, False, "token: expired at 1970-01-01 00:01:40 UTC"),
        ({"used_s": 3.0}, "node:pc", 5.0, False, "token: was used at 1970-01-01 00:00:03 UTC, and is good for one time"),
        ({"secret_sha256": "0" * 64}, "node:pc", 5.0, False, "token: is not one of this hub"),
        ({}, "node:pc", 5.0, True, "token: a node 'pc' has joined already; make another with: multiedge hub token --name pc"),
        ({"holder": "node:pc"}, "node:pc", 5.0, True, ""),
        ({"holder": "node:pc"}, "node:tablet", 5.0, False, "token: admits 'node:pc', not 'node:tablet'"),
        ({}, "client:me", 5.0, False, "token: admits 'node:', not 'client:me'"),
        ({"holder": "client:me"}, "node:me", 5.0, False, "token: admits 'client:me', not 'node:me'"),
    ],
)
def test_a_token_admits_one_holder_once_until_it_expires(
    authority: Authority, changes: dict[str, object], holder: str, now_s: float, is_known: bool, reason: str
) -> None:
    token, record = authority.new_token("node:", 0.0, 100.0)
    found = check_token(replace(record, **changes), token, holder, now_s, is_known=is_known)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_an_unknown_token_is_refused_with_the_remedy(authority: Authority) -> None:
    token, _ = authority.new_token("node:", 0.0, 100.0)
    assert check_token(None, token, "node:pc", 1.0, is_known=False).endswith("make another with: multiedge hub token")


def test_the_hub_keeps_no_secret_of_a_token(authority: Authority) -> None:
    token, record = authority.new_token("node:", 0.0, 100.0)
    assert token.secret not in repr(record)
    assert Token.parse(str(token)) == token
    assert token.fingerprint == authority.fingerprint


def test_a_text_that_is_no_token_is_refused_without_printing_it(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="token: expected one that `multiedge hub token` prints, got 6 other characters"):
        Token.parse("secret")


@pytest.mark.parametrize("holder", ["hub", "node:", "node:../x", "client:a b", "x", "node:a:b"])
def test_nobody_gets_a_certificate_for_another_kind_of_name(holder: str) -> None:
    with pytest.raises(ConfigError):
        require_holder(holder)


def test_a_certificate_names_its_holder_whatever_the_request_says(authority: Authority, tmp_path: Path) -> None:
    _, request = new_request("hub")
    path = tmp_path / "cert.pem"
    path.write_bytes(authority.sign(request, "node:pc"))
    assert name_in(ssl._ssl._test_decode_cert(str(path))) == "node:pc"  # type: ignore[attr-defined]


def test_a_request_that_is_none_is_refused(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="join: expected a certificate signing request"):
        authority.sign(b"nothing", "node:pc")


def test_keys_are_readable_by_their_owner_alone(authority: Authority) -> None:
    keys = [*authority.folder.glob("*key.pem"), *authority.folder.glob("*/key.pem")]
    assert len(keys) == 3
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}


def test_a_folder_with_a_ca_is_not_overwritten(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="holds a CA already"):
        Authority.create(authority.folder)


def test_the_hub_renews_its_certificate_before_it_expires(authority: Authority) -> None:
    path = authority.folder / "hub" / "cert.pem"
    before = path.read_bytes()
    assert authority.hub_identity == Identity(authority.folder / "hub")
    assert path.read_bytes() == before
    authority.issue(authority.folder / "hub", "hub", days=1)
    expiring = path.read_bytes()
    assert authority.hub_identity.folder == authority.folder / "hub"
    assert path.read_bytes() not in (before, expiring)


def test_an_identity_says_until_when_it_is_valid(authority: Authority, tmp_path: Path) -> None:
    identity = authority.issue(tmp_path / "pc", "node:pc", days=2)
    assert identity.expires_s - time.time() == pytest.approx(2 * 24 * 3600, abs=5)
    old = authority.issue(tmp_path / "old", "node:pc", days=-0.5)
    with pytest.raises(ConfigError, match=r"the certificate expired at .* UTC; remove the folder, and join again"):
        old.client_context()
