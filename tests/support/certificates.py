"""Certificates for tests: an authority of our own, a server's and a client's certificate, as PEM texts."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Identity:
    """A key and its certificate; `names` are DNS names and IP addresses."""

    def __init__(self, name: str, names: tuple[str, ...] = (), *, by: "Identity | None" = None, days: int = 30) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._made(names, by or self, is_authority=by is None, days=days)

    @property
    def cert(self) -> str:
        return self._certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key(self) -> str:
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def encrypted_key(self) -> str:
        form = BestAvailableEncryption(b"a passphrase")
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, form).decode()

    def serving(self, clients: "Identity | None" = None) -> ssl.SSLContext:
        """The context of a server; with `clients` it takes only those whom that authority knows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with TemporaryDirectory() as folder:
            cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
            cert.write_text(self.cert)
            key.write_text(self.key)
            context.load_cert_chain(cert, key)
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=clients.cert)
        return context

    def _made(self, names: tuple[str, ...], by: "Identity", *, is_authority: bool, days: int) -> x509.Certificate:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(by._subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 60 * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        return made.sign(by._key, SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
