"""Where calls may go: every form of a forbidden address is refused at registration, every address at connect."""

import pytest

from pointsman.contracts.errors import PointsmanError
from pointsman.services.runtime.egress import address_denied, check_address, check_url, policy_of, url_denied
from tests.support.forbidden_urls import FORBIDDEN_URLS

NOWHERE = policy_of(())
LOOPBACK = policy_of(("127.0.0.0/8", "::1/128"))


def test_there_are_enough_forms() -> None:
    assert len(FORBIDDEN_URLS) >= 60


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
def test_a_forbidden_url_is_refused_with_its_rule(url: str) -> None:
    with pytest.raises(PointsmanError) as refusal:
        check_url(url, NOWHERE, "endpoints.predict")
    assert refusal.value.status == 422
    assert refusal.value.errors[0].field == "endpoints.predict"
    assert refusal.value.errors[0].message


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/predict",
        "https://example.com",
        "HTTPS://Example.COM:443/x?y=1",
        "http://8.8.8.8:9000/",
        "http://[2606:4700:4700::1111]:8080/",
        "http://worker_1.internal:1024/predict",
        "http://1and1.com/",
        "http://xn--bcher-kva.example/",
    ],
)
def test_a_public_url_is_allowed(url: str) -> None:
    assert url_denied(url, NOWHERE) is None


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9001/predict", "http://[::1]:9001/", "http://localhost:9001/", "http://[::ffff:127.0.0.1]/"],
)
def test_an_allowed_network_is_allowed_in_its_plain_forms(url: str) -> None:
    assert url_denied(url, LOOPBACK) is None


@pytest.mark.parametrize("url", ["http://127.1/", "http://2130706433/", "http://10.0.0.1/", "http://u@127.0.0.1/"])
def test_an_allowed_network_opens_no_other_form_and_no_other_network(url: str) -> None:
    assert url_denied(url, LOOPBACK) is not None


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "0.0.0.0", "10.1.2.3", "169.254.169.254", "224.0.0.1", "100.64.0.1", "255.255.255.255"),
        *("::1", "::", "::ffff:10.0.0.1", "::10.0.0.1", "fe80::1%eth0", "fec0::1", "ff02::1", "64:ff9b::1"),
        *("2002:a00:1::", "2001:0:1::", "fc00::1", "4000::1"),
    ],
)
def test_a_forbidden_address_is_refused_at_connect(address: str) -> None:
    with pytest.raises(PointsmanError):
        check_address(address, NOWHERE)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_may_be_connected_to(address: str) -> None:
    assert address_denied(address, NOWHERE) is None


def test_schemes_and_ports_are_the_operator_s_to_say() -> None:
    strict = policy_of((), ("https",), ("443", "8000-8099"))
    for url in ("https://example.com/", "https://example.com:8000/", "https://example.com:8099/"):
        assert url_denied(url, strict) is None
    for url, rule in (
        ("http://example.com/", "egress_schemes"),
        ("https://example.com:8100/", "443, 8000-8099"),
        ("https://example.com:80/", "port 80 is not allowed"),
    ):
        assert rule in (url_denied(url, strict) or "")
