"""URLs that no policy without exceptions lets through, one a line, and how to point them at a listener of the test."""

import re

FORBIDDEN_URLS = (
    """
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
http://127.0.0.1%2e/
http://127.0.0.1%00/
http://0x7f.0x0.0x0.0x1/
http://0177.0x0.0.1/
http://017700000001./
http://00000000177.0.0.1/
http://4294967295/
http://18446744071572914177/
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
http://[ff0e::1]/
http://[fe80::1%251]/
http://[::ffff:0:0]/
http://[::ffff:a9fe:a9fe]/
http://[64:ff9b::a9fe:a9fe]/
http://[2002:a9fe:a9fe::]/
http://[fd00:ec2::254]/
http://[::1]./
http://[127.0.0.1]/
http://[[::1]]/
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
http://localhost%2e/
http://loc­alhost/
http://ｌocalhost/
http://localhost.localdomain/
http://ip6-localhost/
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
""".strip()
    .replace("\\t", "\t")
    .split("\n")
)

_NO_PORT = re.compile(r"(?i)(http://)([^/?#@]+?)(/.*)?")


def at_port(url: str, port: int) -> str:
    """The same form with this port, where the form leaves room for one."""
    found = _NO_PORT.fullmatch(url)
    if found is None or re.search(r":\w*$", found[2].rpartition("]")[2]):
        return url
    return f"{found[1]}{found[2]}:{port}{found[3] or ''}"
