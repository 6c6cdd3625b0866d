"""The TLS context by which a server is called, made of the PEM texts of its registration."""

import ipaddress
import re
import ssl
from tempfile import NamedTemporaryFile

from pointsman.contracts.errors import invalid
from pointsman.contracts.server import Tls

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


def check(tls: Tls, url: str) -> None:
    """Refuse at registration what could not be used later; raises 400 that names the field, never its content."""
    if not url.lower().startswith("https:"):
        raise invalid("tls", "needs an https endpoint")
    if (tls.client_cert is None) != (tls.client_key is None):
        raise invalid("tls.clientKey" if tls.client_key is None else "tls.clientCert", "give both or neither")
    if tls == Tls():
        raise invalid("tls", "give ca, clientCert with clientKey, or serverName")
    for name, text in (("ca", tls.ca), ("clientCert", tls.client_cert), ("clientKey", tls.client_key)):
        if text is not None and not text.isascii():
            raise invalid(f"tls.{name}", "PEM is ASCII")
    if tls.server_name is not None and not _is_name(tls.server_name):
        raise invalid("tls.serverName", "neither a DNS name nor an IP address")
    context_of(tls)


def context_of(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer, the server's certificate and name always verified; raises 400 that names the field."""
    context = _trusting(tls.ca) if tls.ca is not None else ssl.create_default_context()
    if tls.client_cert is not None and tls.client_key is not None:
        _identify(context, tls.client_cert, tls.client_key)
    return context


def _trusting(ca: str) -> ssl.SSLContext:
    """Private authorities seldom keep every rule of RFC 5280 for extensions: the strict flag is for public ones."""
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise invalid("tls.ca", f"no certificate in PEM ({_reason(error)})") from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _identify(context: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=cert)
    except (ssl.SSLError, ValueError) as error:
        raise invalid("tls.clientCert", f"no certificate in PEM ({_reason(error)})") from None
    if "ENCRYPTED" in key:
        raise invalid("tls.clientKey", "must not be encrypted")
    try:
        _load(context, f"{cert}\n{key}\n")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise invalid("tls.clientKey", f"no private key of clientCert in PEM ({_reason(error)})") from None


def _load(context: ssl.SSLContext, chain: str) -> None:
    """OpenSSL's binding reads keys only from files: one that nobody else may read, for as long as the reading takes."""
    with NamedTemporaryFile(prefix="pointsman-") as file:
        file.write(chain.encode("ascii"))
        file.flush()
        context.load_cert_chain(file.name, password=lambda: "")


def _is_name(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _DNS_NAME.fullmatch(name) is not None
    return True


def _reason(error: Exception) -> str:
    """OpenSSL's own word for it; the rest of its message may quote what it was given."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return (reason or "malformed").lower().replace("_", " ")
