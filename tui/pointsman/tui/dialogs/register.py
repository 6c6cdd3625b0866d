"""Register a server by hand."""

from typing import ClassVar
from urllib.parse import urlsplit

import msgspec

from pointsman.contracts.server import ServerRequest
from pointsman.tui.acts import Act, Verb
from pointsman.tui.dialogs.form import Field, FormDialog, labelled, listed, mistake, numeral

NUMBERS = ("maxConcurrent", "weight", "priority")
LISTS = ("capabilities", "groups")
MANNERS = {"": True, "callback": True, "sync": False}
SCHEMES = ("http", "https")
TEXTS = ("id", "name", "url", "pool", "version", "apiKey")


class RegisterDialog(FormDialog[ServerRequest]):
    TITLE_TEXT = "Register a server"
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("id", "id", "letters, digits . _ -; made up when empty"),
        Field("url", "url", "https://gpu-1:9000 - tasks go to /predict, probes to /health", is_required=True),
        Field("pool", "pool", "default"),
        Field("maxConcurrent", "tasks at once", "10"),
        Field("weight", "weight", "1 to 1000; 1"),
        Field("priority", "priority", "0 to 10, higher ones are filled first; 1"),
        Field("capabilities", "capabilities", "what it can do: gpu, ocr"),
        Field("groups", "groups", "rack-3, eu-west"),
        Field("labels", "labels", "team=a, env=prod"),
        Field("apiKey", "api key", "sent to it as a bearer token; never shown again"),
        Field("async", "answers", "callback, or sync: with the result at once; callback"),
    )

    def made(self, values: dict[str, str]) -> ServerRequest:
        given: dict[str, object] = {name: values[name] for name in TEXTS if values.get(name)}
        given |= {name: listed(values[name]) for name in LISTS if values[name]}
        given |= {name: numeral(values[name], name) for name in NUMBERS if values[name]}
        if values["labels"]:
            given["labels"] = labelled(values["labels"], "labels")
        if values["async"] not in MANNERS:
            raise mistake("async", "callback or sync")
        if url := values["url"]:
            check_url(url)
        if not _is_plain(values["apiKey"]):
            raise mistake("apiKey", "only printable ASCII can be sent in a header")
        return msgspec.convert(given | {"async": MANNERS[values["async"]]}, ServerRequest)

    def act_of(self, request: ServerRequest) -> Act:
        return Act(verb=Verb.REGISTER, server=request)


def check_url(url: str) -> None:
    """Refuse what no policy lets be a server's address; whether it may be called the system says. Raises 400."""
    if not _is_plain(url) or " " in url or not _has_host(url):
        raise mistake("url", "http://HOST:PORT or https://HOST:PORT, and a path if need be")
    if "@" in urlsplit(url).netloc or "?" in url or "#" in url:
        raise mistake("url", "no user, no query and no fragment")


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()
