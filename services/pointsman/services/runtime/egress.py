"""Where calls may go (S8): a URL is judged by its form at registration, its address at every connect."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import SplitResult, urlsplit

from pointsman.contracts.errors import refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SCHEMES = ("http", "https")
PORTS = ("80", "443", "1024-65535")
PORT_MAX = 65_535
PORT_OF = {"http": 80, "https": 443}
HOST_LENGTH_MAX = 253

_PRINTABLE = re.compile(r"[!-~]+")
_SUSPICIOUS = re.compile(r"[\\<>\"^`{|}]")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_PORTS = re.compile(r"[0-9]{1,6}(-[0-9]{1,6})?")
_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
_LOOPBACK = IPv4Address("127.0.0.1")

_DENIED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the unspecified network", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")),
    ("shared address space", ("100.64.0.0/10",)),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("site-local", ("fec0::/10",)),
    ("NAT64", ("64:ff9b::/96", "64:ff9b:1::/48")),
    ("6to4", ("2002::/16", "192.88.99.0/24")),
    ("Teredo", ("2001::/32",)),
    ("documentation", ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")),
    ("benchmarking", ("198.18.0.0/15", "2001:2::/48")),
    ("reserved", ("192.0.0.0/24", "240.0.0.0/4", "2001::/23", "100::/64", "5f00::/16")),
)
DENIED: tuple[tuple[str, Network], ...] = tuple(
    (rule, ip_network(network)) for rule, networks in _DENIED for network in networks
)
GLOBAL_V6 = IPv6Network("2000::/3")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """`allowed`: networks that are allowed although they are not public."""

    allowed: tuple[Network, ...]
    schemes: tuple[str, ...]
    ports: tuple[range, ...]


def policy_of(cidrs: Iterable[str], schemes: Iterable[str] = SCHEMES, ports: Iterable[str] = PORTS) -> EgressPolicy:
    """`ports` are numbers and ranges such as `8000-8099`; ValueError that says which entry is none."""
    return EgressPolicy(
        tuple(ip_network(cidr) for cidr in cidrs), tuple(schemes), tuple(ports_of(entry) for entry in ports)
    )


def ports_of(entry: str) -> range:
    first, _, last = entry.partition("-")
    if not _PORTS.fullmatch(entry):
        raise ValueError(f"{entry} is neither a port nor a range FIRST-LAST")
    ports = range(int(first), int(last or first) + 1)
    if not ports or ports[0] < 1 or ports[-1] > PORT_MAX:
        raise ValueError(f"{entry} is not within 1-{PORT_MAX}")
    return ports


def check_url(url: str, policy: EgressPolicy, field: str = "url") -> None:
    """Refuse a URL by its form, or by its address where the host is one; raises 422 that names the rule."""
    if reason := url_denied(url, policy):
        raise refused(field, reason)


def check_address(address: str | Address, policy: EgressPolicy, field: str = "url") -> None:
    """Refuse an address about to be connected to; raises 422 that names the rule."""
    if reason := address_denied(address, policy):
        raise refused(field, reason)


def url_denied(url: str, policy: EgressPolicy) -> str | None:
    """The rule that forbids this URL, or None."""
    if not _PRINTABLE.fullmatch(url) or _SUSPICIOUS.search(url):
        return "only printable ASCII without spaces, quotes and backslashes is allowed in a URL"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"not a URL ({error})"
    return _form_denied(url, parts, policy) or _port_denied(parts, port, policy) or _host_denied(parts, policy)


def _form_denied(url: str, parts: SplitResult, policy: EgressPolicy) -> str | None:
    if parts.scheme not in policy.schemes:
        return f"the scheme must be {' or '.join(policy.schemes)} (egress_schemes)"
    if not url[len(parts.scheme) :].startswith("://") or not parts.hostname:
        return "the URL has no host"
    if "@" in parts.netloc:
        return "user and password are not allowed in a URL"
    if "#" in url:
        return "a fragment is not allowed in a URL"
    if parts.netloc.endswith(":"):
        return "the port is empty"
    return None


def _port_denied(parts: SplitResult, port: int | None, policy: EgressPolicy) -> str | None:
    return port_denied(PORT_OF[parts.scheme] if port is None else port, policy)


def port_denied(port: int, policy: EgressPolicy) -> str | None:
    """The rule that forbids this port, or None."""
    if any(port in ports for ports in policy.ports):
        return None
    return f"port {port} is not allowed; egress_ports has {', '.join(_shown(ports) for ports in policy.ports)}"


def _shown(ports: range) -> str:
    return f"{ports[0]}-{ports[-1]}" if len(ports) > 1 else str(ports[0])


def _host_denied(parts: SplitResult, policy: EgressPolicy) -> str | None:
    host = parts.hostname or ""
    if parts.netloc.startswith("["):
        return "an address with a zone is not allowed" if "%" in host else _literal_denied(host, policy)
    name = host.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _numeric_denied(host, policy)
    if len(name) > HOST_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        return "the host is not a DNS name"
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return address_denied(_LOOPBACK, policy)
    return None


def _literal_denied(host: str, policy: EgressPolicy) -> str | None:
    try:
        return address_denied(IPv6Address(host), policy)
    except AddressValueError:
        return "the host in brackets is not an IPv6 address"


def _numeric_denied(host: str, policy: EgressPolicy) -> str | None:
    """Octal, hexadecimal, short and single-number forms mean different addresses to different readers: refused."""
    try:
        return address_denied(IPv4Address(host), policy)
    except AddressValueError:
        return "an IPv4 address must be written as four decimal numbers"


def address_denied(address: str | Address, policy: EgressPolicy) -> str | None:
    """The rule that forbids this address, or None; v4-in-v6 forms are judged as the IPv4 address they carry."""
    ip = _unmapped(_parsed(address) if isinstance(address, str) else address)
    if any(ip in network for network in policy.allowed):
        return None
    for rule, network in DENIED:
        if ip in network:
            return f"{ip} is in a network that is denied ({rule}); egress_allow can allow it"
    if (ip not in GLOBAL_V6) if isinstance(ip, IPv6Address) else not ip.is_global:
        return f"{ip} is not a public address; egress_allow can allow it"
    return None


def _parsed(address: str) -> Address:
    bare = address.partition("%")[0]
    return IPv6Address(bare) if ":" in bare else IPv4Address(bare)


def _unmapped(ip: Address) -> Address:
    """`::ffff:127.0.0.1` (mapped) and `::127.0.0.1` (compatible, long deprecated) as 127.0.0.1."""
    if not isinstance(ip, IPv6Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    value = int(ip)
    return IPv4Address(value) if 0xFFFF < value <= 0xFFFFFFFF else ip
