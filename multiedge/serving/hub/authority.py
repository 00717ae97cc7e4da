"""The certificate authority of a hub: keys, certificates with an expiry, and one-time tokens to join.

A token is 'ID-SECRET-FINGERPRINT' in hexadecimal digits. The fingerprint is that of the CA's certificate, so that who joins can
tell this hub from another one before it sends the secret.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiedge.errors import ConfigError, MissingDependencyError
from multiedge.files import replacing, temporary_folder, write_bytes
from multiedge.fleet import CALLER_NAME
from multiedge.network.encoding import require_name
from multiedge.network.identity import CA_FILE, CERTIFICATE_FILE, CLIENT, HUB, KEY_FILE, NODE, SCHEME, Identity

CA_KEY_FILE = "ca-key.pem"
HUB_FOLDER, CLIENT_FOLDER = "hub", "client"
"""Where the identities of the hub and of its first client are, below the data folder."""
CA_DAYS = 3650
CERTIFICATE_DAYS = 365
DNS_DOMAIN = "multiedge.internal"
"""`internal` is never given to anybody in the DNS."""
RENEW_DAYS = 30
"""The hub makes itself a new certificate when the old one is valid for less than this."""
_CLOCK_SKEW = datetime.timedelta(days=1)
_TOKEN = re.compile(r"([0-9a-f]{16})-([0-9a-f]{32})-([0-9a-f]{64})")
REMEDY = "make another with: multiedge hub token"


@dataclass(frozen=True)
class Token:
    """A token in its parts: `fingerprint` is the SHA-256 of the CA's certificate."""

    number: str
    secret: str
    fingerprint: str

    @classmethod
    def parse(cls, text: str) -> Token:
        """The token in a text; ConfigError for what is none."""
        match = _TOKEN.fullmatch(text.strip())
        if not match:
            raise ConfigError(f"token: expected one that `multiedge hub token` prints, got {len(text)} other characters")
        return cls(*match.groups())

    def __str__(self) -> str:
        return f"{self.number}-{self.secret}-{self.fingerprint}"


@dataclass(frozen=True)
class TokenRecord:
    """What the hub keeps of a token. `holder` is whom it admits: 'node:NAME', 'client:NAME', or 'node:' for any new node."""

    number: str
    secret_sha256: str
    holder: str
    expires_s: float
    used_s: float | None = None


def check_token(record: TokenRecord | None, token: Token, holder: str, now_s: float, *, is_known: bool) -> str:
    """Why the token does not admit `holder` at `now_s` (UNIX time); '' if it does. `is_known`: somebody has this name."""
    if record is None or not hmac.compare_digest(record.secret_sha256, _digest(token.secret)):
        return f"token: is not one of this hub; {REMEDY}"
    if record.used_s is not None:
        return f"token: was used at {_time(record.used_s)}, and is good for one time; {REMEDY}"
    if now_s >= record.expires_s:
        return f"token: expired at {_time(record.expires_s)}; {REMEDY}"
    if record.holder == NODE and holder.startswith(NODE):
        name = holder.removeprefix(NODE)
        return f"token: a node '{name}' has joined already; {REMEDY} --name {name}" if is_known else ""
    return "" if record.holder == holder else f"token: admits '{record.holder}', not '{holder}'; {REMEDY}"


class Authority:
    """The CA in a data folder: `ca.pem` and its key.

    Raises:
        ConfigError: If the folder has none.
        MissingDependencyError: Without the package `cryptography`.
    """

    def __init__(self, folder: Path) -> None:
        self._x509, serialization = _cryptography()
        self.folder = folder
        try:
            self.certificate_pem = (folder / CA_FILE).read_bytes()
            self._key = serialization.load_pem_private_key((folder / CA_KEY_FILE).read_bytes(), None)
            self._certificate = self._x509.load_pem_x509_certificate(self.certificate_pem)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder}: holds no CA ({error}); make one with: multiedge hub init") from None
        self.fingerprint = fingerprint_of(self.certificate_pem)

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """A new CA in the folder, with the identities of the hub and of a first client, 'client:admin'."""
        if (folder / CA_FILE).exists() or (folder / CA_KEY_FILE).exists():
            raise ConfigError(f"{folder}: holds a CA already; remove it first if all nodes are to join again")
        x509, _ = _cryptography()
        folder.mkdir(parents=True, exist_ok=True)
        key = _new_key()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "multiedge hub CA")])
        usage = {"key_cert_sign": True, "crl_sign": True}
        builder = _builder(x509, name, name, key.public_key(), CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(x509, **usage), critical=True)
        certificate = builder.sign(key, _sha256())
        write_secret(folder / CA_KEY_FILE, _key_pem(key))
        write_bytes(folder / CA_FILE, _pem(certificate))
        authority = cls(folder)
        authority.issue(folder / HUB_FOLDER, HUB)
        authority.issue(folder / CLIENT_FOLDER, f"{CLIENT}admin")
        return authority

    @property
    def hub_identity(self) -> Identity:
        """The identity of the hub, with a new certificate if the old one expires soon."""
        folder = self.folder / HUB_FOLDER
        try:
            expires = self._x509.load_pem_x509_certificate((folder / CERTIFICATE_FILE).read_bytes()).not_valid_after_utc
        except (OSError, ValueError):
            expires = None
        if expires is None or expires - _now() < datetime.timedelta(days=RENEW_DAYS):
            return self.issue(folder, HUB)
        return Identity(folder)

    def issue(self, folder: Path, holder: str, days: float = CERTIFICATE_DAYS) -> Identity:
        """A new key and certificate for `holder` in the folder."""
        key = _new_key()
        certificate = self._sign(key.public_key(), holder, days)
        return write_identity(folder, self.certificate_pem, certificate, _key_pem(key))

    def sign(self, request_pem: bytes, holder: str, days: float = CERTIFICATE_DAYS) -> bytes:
        """The certificate, as PEM, for who has the key of a signing request; ConfigError for a request that is none."""
        try:
            request = self._x509.load_pem_x509_csr(request_pem)
            is_signed = request.is_signature_valid
        except ValueError:
            is_signed = False
        if not is_signed:
            raise ConfigError("join: expected a certificate signing request that its own key has signed")
        return self._sign(request.public_key(), holder, days)

    def new_token(self, holder: str, now_s: float, valid_s: float) -> tuple[Token, TokenRecord]:
        """A token that admits `holder` once, for `valid_s` seconds, and what the hub keeps of it."""
        token = Token(secrets.token_hex(8), secrets.token_hex(16), self.fingerprint)
        return token, TokenRecord(token.number, _digest(token.secret), holder, now_s + valid_s)

    def _sign(self, key: Any, holder: str, days: float) -> bytes:
        x509 = self._x509
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, holder[:64])])
        uses = [x509.ExtendedKeyUsageOID.CLIENT_AUTH, x509.ExtendedKeyUsageOID.SERVER_AUTH]
        builder = _builder(x509, subject, self._certificate.subject, key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(x509, digital_signature=True), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        names = [x509.UniformResourceIdentifier(f"{SCHEME}{holder}"), x509.DNSName(dns_name(holder))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _pem(builder.sign(self._key, _sha256()))


@contextmanager
def identities_of_one_run(names: Iterable[str]) -> Iterator[dict[str, Identity]]:
    """Certificates of a new CA for workers of these names and for the caller, until the end of the block."""
    with temporary_folder("identities-") as folder:
        authority = Authority.create(Path(folder) / "ca")
        identities = {name: authority.issue(Path(folder) / f"node-{name}", NODE + name) for name in names}
        yield {**identities, CALLER_NAME: authority.issue(Path(folder) / "caller", CLIENT + CALLER_NAME)}


def dns_name(holder: str) -> str:
    """The name by which programs check a certificate that know names of hosts alone, such as 'a.node.multiedge.internal'."""
    kind, _, name = holder.partition(":")
    return f"{name}.{kind}.{DNS_DOMAIN}" if name else f"{kind}.{DNS_DOMAIN}"


def require_holder(text: str) -> str:
    """'node:NAME' or 'client:NAME' as a peer or a user gave it; ConfigError for another."""
    for prefix in (NODE, CLIENT):
        if text.startswith(prefix):
            require_name("name", text.removeprefix(prefix))
            return text
    raise ConfigError("join: expected the name of a node or of a client")


def new_request(holder: str) -> tuple[bytes, bytes]:
    """A new private key and a certificate signing request for it, both as PEM."""
    x509, serialization = _cryptography()
    key = _new_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, holder[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, _sha256())
    return _key_pem(key), request.public_bytes(serialization.Encoding.PEM)


def write_identity(folder: Path, ca: bytes, certificate: bytes, key: bytes) -> Identity:
    """Writes the three files of an identity, the key readable by its owner alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_secret(folder / KEY_FILE, key)
    write_bytes(folder / CERTIFICATE_FILE, certificate)
    write_bytes(folder / CA_FILE, ca)
    return Identity(folder)


def write_secret(path: Path, data: bytes) -> None:
    with replacing(path, mode=0o600) as file:
        file.write(data)


def fingerprint_of(certificate_pem: bytes) -> str:
    """SHA-256 of a certificate in hexadecimal digits; ConfigError for what is none."""
    x509, serialization = _cryptography()
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError:
        raise ConfigError("join: expected the certificate of a CA, got something else") from None
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _builder(x509: Any, subject: Any, issuer: Any, key: Any, days: float) -> Any:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _CLOCK_SKEW)
        .not_valid_after(_now() + datetime.timedelta(days=days))
    )


def _key_usage(x509: Any, **given: bool) -> Any:
    kinds = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    others = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{kind: given.get(kind, False) for kind in (*kinds, *others)})


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise MissingDependencyError("cryptography", extra="fleet") from None
    return x509, serialization


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _key_pem(key: Any) -> bytes:
    _, serialization = _cryptography()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))


def _pem(certificate: Any) -> bytes:
    _, serialization = _cryptography()
    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _time(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(unix_s, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
