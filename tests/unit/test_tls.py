"""TLS of a registration: what could not be used later is refused at once, by field and without quoting it."""

import ssl

import pytest

from pointsman.contracts.errors import PointsmanError
from pointsman.contracts.server import Tls
from pointsman.services.runtime.tls import check, context_of
from tests.support.certificates import Identity

CA = Identity("authority")
CLIENT, OTHER = Identity("client", by=CA), Identity("other", by=CA)
HTTPS = "https://gpu.example/predict"


@pytest.mark.parametrize(
    ("url", "tls", "field"),
    [
        ("http://gpu.example/predict", Tls(ca=CA.cert), "tls"),
        (HTTPS, Tls(), "tls"),
        (HTTPS, Tls(ca="no certificate"), "tls.ca"),
        (HTTPS, Tls(ca=CA.key), "tls.ca"),
        (HTTPS, Tls(ca=CA.cert[:200]), "tls.ca"),
        (HTTPS, Tls(ca="zertifikät"), "tls.ca"),
        (HTTPS, Tls(client_cert=CLIENT.cert), "tls.clientKey"),
        (HTTPS, Tls(client_key=CLIENT.key), "tls.clientCert"),
        (HTTPS, Tls(client_cert=CLIENT.key, client_key=CLIENT.key), "tls.clientCert"),
        (HTTPS, Tls(client_cert=CLIENT.cert, client_key=CLIENT.cert), "tls.clientKey"),
        (HTTPS, Tls(client_cert=CLIENT.cert, client_key=OTHER.key), "tls.clientKey"),
        (HTTPS, Tls(client_cert=CLIENT.cert, client_key=CLIENT.encrypted_key), "tls.clientKey"),
        (HTTPS, Tls(client_cert=CLIENT.cert, client_key="schlüssel"), "tls.clientKey"),
        (HTTPS, Tls(server_name="no name"), "tls.serverName"),
        (HTTPS, Tls(server_name="a..b"), "tls.serverName"),
        (HTTPS, Tls(server_name="a" * 64), "tls.serverName"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(url: str, tls: Tls, field: str) -> None:
    with pytest.raises(PointsmanError) as refusal:
        check(tls, url)
    assert (refusal.value.status, refusal.value.errors[0].field) == (400, field)
    assert "PRIVATE KEY" not in refusal.value.detail


@pytest.mark.parametrize(
    "tls",
    [
        Tls(ca=CA.cert),
        Tls(ca=CA.cert + CLIENT.cert, client_cert=CLIENT.cert + CA.cert, client_key=CLIENT.key),
        Tls(client_cert=CLIENT.cert, client_key=CLIENT.key, server_name="gpu.internal"),
        Tls(server_name="10.0.0.1"),
        Tls(server_name="gpu.example."),
    ],
)
def test_what_can_be_used_verifies_name_and_certificate(tls: Tls) -> None:
    check(tls, HTTPS)
    context = context_of(tls)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
