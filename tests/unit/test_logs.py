"""Logs carry what helps and no secret."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from pointsman.services.runtime import logs


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    before = logging.root.handlers[:], logging.root.level
    logs.configure("test", level="info")
    yield stream
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:], logging.root.level = before


def written(lines: io.StringIO) -> dict[str, object]:
    found: dict[str, object] = json.loads(lines.getvalue().splitlines()[-1])
    return found


def test_a_line_names_service_time_and_what_is_bound(lines: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(task_id="t1", request_id="r1")
    structlog.get_logger().info("assigned", server="s1")
    line = written(lines)
    assert (line["service"], line["task_id"], line["request_id"], line["server"]) == ("test", "t1", "r1", "s1")
    assert str(line["timestamp"]).endswith("Z")


@pytest.mark.parametrize("key", ["token", "jwt_secret", "Authorization", "api_key", "payload", "nats_password"])
def test_a_secret_is_hidden_wherever_it_stands(lines: io.StringIO, key: str) -> None:
    structlog.get_logger().info("request", **{key: "hunter2", "headers": {key: "hunter2", "n": [{key: "hunter2"}]}})
    assert "hunter2" not in lines.getvalue()


def test_query_and_password_of_a_url_are_hidden(lines: io.StringIO) -> None:
    structlog.get_logger().info("called http://u:hunter2@h/p?token=hunter3", url="http://h/p?a=hunter4")
    text = lines.getvalue()
    assert "http://" in text
    assert not any(secret in text for secret in ("hunter2", "hunter3", "hunter4"))


def test_the_standard_library_and_tracebacks_go_the_same_way(lines: io.StringIO) -> None:
    try:
        raise ValueError("postgresql://u:hunter2@h/d")
    except ValueError:
        logging.getLogger("other").exception("broken")
    line = written(lines)
    assert line["service"] == "test"
    assert "ValueError" in str(line["exception"])
    assert "hunter2" not in lines.getvalue()
