"""Where calls may go: every form of a forbidden address is refused at registration, every address at connect."""

import pytest

from pointsman.contracts.errors import PointsmanError
from pointsman.services.runtime.egress import address_denied, check_address, check_url, policy_of, url_denied

NOWHERE = policy_of(())
LOOPBACK = policy_of(("127.0.0.0/8", "::1/128"))

FORBIDDEN_URLS = """
http://127.0.0.1/
http://127.0.0.1:8080/predict
http://127.1/
http://127.0.1/
http://2130706433/
http://0x7f000001/
http://0X7F.0.0.1/
http://0x7f.1/
http://0177.0.0.1/
http://017700000001/
http://0177.1/
http://127.0.0.1./
http://127.00.0.1/
http://0/
http://0.0.0.0/
http://0x0/
http://00.0.0.0/
http://0x/
http://127.0.0.1.:80/
http://10.0.0.1/
http://172.16.0.1/
http://172.31.255.254/
http://192.168.1.1/
http://169.254.169.254/latest/meta-data/
http://0xa9fea9fe/
http://2852039166/
http://0251.0376.0251.0376/
http://169.254.43518/
http://100.64.0.1/
http://192.0.0.1/
http://192.0.2.1/
http://192.88.99.1/
http://198.18.0.1/
http://198.51.100.1/
http://203.0.113.1/
http://224.0.0.1/
http://239.255.255.250/
http://240.0.0.1/
http://255.255.255.255/
http://256.256.256.256/
http://1.2.3.4.5/
http://[::1]/
http://[::]/
http://[0:0:0:0:0:0:0:1]/
http://[::ffff:127.0.0.1]/
http://[::ffff:7f00:1]/
http://[::ffff:169.254.169.254]/
http://[::127.0.0.1]/
http://[::ffff:0:127.0.0.1]/
http://[64:ff9b::7f00:1]/
http://[64:ff9b:1::7f00:1]/
http://[2002:7f00:1::]/
http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/
http://[fe80::1]/
http://[fe80::1%25eth0]/
http://[fe80::1%eth0]/
http://[fec0::1]/
http://[fc00::1]/
http://[fd12:3456::1]/
http://[ff02::1]/
http://[100::1]/
http://[2001:db8::1]/
http://[3fff::1]/
http://[5f00::1]/
http://[4000::1]/
http://[::1
http://::1/
http://[v1.x]/
http://localhost/
http://LOCALHOST:8080/
http://localhost./
http://api.localhost/
http://user@example.com/
http://user:password@example.com/
http://example.com@127.0.0.1/
http://127.0.0.1#@example.com/
http://example.com\\@127.0.0.1/
http://example.com%00.127.0.0.1/
http://127.0.0.1%2f@example.com/
http://%6c%6f%63%61%6c%68%6f%73%74/
http://①②⑦.⓪.⓪.①/
http://127。0。0。1/
http://example.com:22/
http://example.com:25/
http://example.com:0/
http://example.com:65536/
http://example.com:/
http://example.com:abc/
http://-example.com/
http://exa mple.com/
http://example..com/
http://example.com/a\tb
http://
http:///predict
http:example.com
//example.com/
/predict
example.com
file:///etc/passwd
ftp://example.com/
gopher://example.com:70/
javascript:alert(1)
unix:///var/run/docker.sock
http+unix://%2fvar%2frun/
data:text/plain,hi
""".strip().split("\n")


def test_there_are_enough_forms() -> None:
    assert len(FORBIDDEN_URLS) >= 60


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
def test_a_forbidden_url_is_refused_with_its_rule(url: str) -> None:
    with pytest.raises(PointsmanError) as refusal:
        check_url(url.replace("\\t", "\t"), NOWHERE, "endpoints.predict")
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
