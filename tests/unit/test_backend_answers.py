"""What a backend's answer means: the table of API.md §4, row by row."""

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.contracts.task import RESULT_BYTES_MAX
from pointsman.services.instance.answer import Answer, outcome_of, retry_after_ms
from pointsman.services.instance.content import is_sound_json, result_of
from pointsman.services.runtime.outcomes import Accepted, Failed, Lost, Outcome, Succeeded

NOW = 1_790_000_000_000
FINAL = frozenset({400, 404, 410, 413, 422})


def outcome(status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, is_cut: bool = False) -> Outcome:
    return outcome_of(Answer(status, headers or {}, body, is_cut), now=NOW, final_statuses=FINAL)


def result(status: int, body: bytes) -> bytes:
    succeeded = outcome(status, body)
    assert isinstance(succeeded, Succeeded), succeeded
    return bytes(succeeded.result)


def failed(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Failed:
    found = outcome(status, body, headers)
    assert isinstance(found, Failed), found
    return found


@pytest.mark.parametrize("status", [200, 201, 204])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", b"null"),
        (b" \r\n", b"null"),
        (b"null", b"null"),
        (b"0", b"0"),
        (b'{"a": 1.50}', b'{"a": 1.50}'),
        (b" [1, 2]\n", b"[1, 2]"),
        (b'\xef\xbb\xbf{"a":1}', b'{"a":1}'),
        (b"plain text", b'"plain text"'),
        (b'{"broken": ', b'"{\\"broken\\":"'),
        (b'"\xff"', '"\\"\ufffd\\""'.encode()),
        (b"a\x00b", '"a\ufffdb"'.encode()),
        (b'{"a":"\\u0000"}', b'"{\\"a\\":\\"\\\\u0000\\"}"'),
        (b'{"a":"\\\\u0000"}', b'{"a":"\\\\u0000"}'),
        (b'{"status":"success","result":{"x":[1, 2]}}', b'{"x":[1, 2]}'),
        (b'{"status":"success","result":null}', b"null"),
        (b'{"status":"success","other":1}', b'{"status":"success","other":1}'),
        (b'{"status":"done","result":1}', b'{"status":"done","result":1}'),
        (b'{"status":200,"result":1}', b'{"status":200,"result":1}'),
        (b'{"status":null}', b'{"status":null}'),
        (b'["status","error"]', b'["status","error"]'),
    ],
)
def test_a_done_body_is_the_result(status: int, body: bytes, expected: bytes) -> None:
    assert result(status, body) == expected


@pytest.mark.parametrize("status", [202, 409])
def test_taken_or_already_running_waits_for_the_callback(status: int) -> None:
    assert outcome(status, b'{"anything": 1}') == Accepted(http_status=status)


@pytest.mark.parametrize("status", [200, 201])
def test_a_body_can_say_accepted(status: int) -> None:
    assert outcome(status, b'{"status":"accepted","jobId":7}') == Accepted(http_status=status)


@pytest.mark.parametrize(
    ("body", "error", "code"),
    [
        (b'{"status":"error","error":"no such voice","code":"E7"}', "no such voice", "E7"),
        (b'{"status":"error","error":{"message":"deep"},"code":7}', "deep", "7"),
        (b'{"status":"error","message":"other field"}', "other field", None),
        (b'{"status":"error"}', "the backend answered with an error", None),
        (b'{"status":"error","error":["a"],"code":[1]}', '["a"]', None),
    ],
)
def test_a_body_can_say_error(body: bytes, error: str, code: str | None) -> None:
    assert failed(200, body) == Failed(error=error, code=code, http_status=200)


@pytest.mark.parametrize("status", [400, 404, 410, 413, 422])
def test_the_caller_s_mistake_fails_for_good(status: int) -> None:
    found = failed(status, b'{"detail":"bad input"}')
    assert (found.final, found.server_fault, found.error) == (True, False, f"HTTP {status}: bad input")


@pytest.mark.parametrize("status", [*range(400, 600)])
def test_every_other_error_is_a_failed_attempt(status: int) -> None:
    if status in {400, 404, 409, 410, 413, 422, 429, 503}:
        return
    found = failed(status)
    assert not found.final
    assert found.http_status == status
    assert found.server_fault == (status in {502, 504})


@pytest.mark.parametrize("status", [200, 401, 418, 500, 502])
def test_a_backend_can_forbid_the_retry(status: int) -> None:
    assert failed(status, b'{"status":"error"}', {"X-Pointsman-Retry": "No"}).final


@pytest.mark.parametrize(
    ("status", "retry_after", "wait", "fault"),
    [(429, None, None, False), (429, "3", 3000, False), (503, "3", 3000, False), (503, None, None, True)],
)
def test_backpressure_spends_no_attempt(status: int, retry_after: str | None, wait: int | None, fault: bool) -> None:
    found = outcome(status, b"", {"Retry-After": retry_after} if retry_after else {})
    assert isinstance(found, Lost)
    assert (found.http_status, found.retry_after_ms, found.server_fault) == (status, wait, fault)


@pytest.mark.parametrize("status", [100, 101, 203, 206, 226, 300, 301, 302, 303, 304, 307, 308, 399])
def test_what_is_no_answer_to_a_task_is_the_server_s_fault(status: int) -> None:
    found = failed(status, b"", {"Location": "http://169.254.169.254/"})
    assert found.server_fault
    assert str(status) in found.error


def test_an_encoding_nobody_asked_for_is_the_server_s_fault() -> None:
    assert failed(200, b"\x1f\x8b", {"Content-Encoding": "gzip"}).server_fault


@pytest.mark.parametrize(
    "found",
    [
        outcome(200, b'"' + b"a" * RESULT_BYTES_MAX + b'"'),
        outcome(200, b"a" * RESULT_BYTES_MAX),
        outcome(200, b"", is_cut=True),
    ],
)
def test_a_result_that_is_too_large_fails_for_good(found: Outcome) -> None:
    assert isinstance(found, Failed)
    assert found.final
    assert found.error == f"result larger than {RESULT_BYTES_MAX} bytes"


def test_a_result_of_exactly_the_limit_is_taken_even_in_an_envelope() -> None:
    value = b'"' + b"a" * (RESULT_BYTES_MAX - 2) + b'"'
    assert result(200, value) == value
    assert result(200, b'{"status":"success","result":' + value + b"}") == value


def test_nesting_is_taken_up_to_64_levels() -> None:
    assert is_sound_json(b"[" * 64 + b"]" * 64)
    assert not is_sound_json(b"[" * 65 + b"]" * 65)
    assert not is_sound_json(b'{"a":' * 65 + b"1" + b"}" * 65)
    assert not is_sound_json(b"[" * 1_000_000)
    assert is_sound_json(b"[" + b"[]," * 1000 + b'"' + b"[" * 100 + b'"]')


def test_a_long_error_is_cut() -> None:
    assert len(failed(500, b"x" * 100_000).error) < 400


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0", 0),
        (" 12 ", 12_000),
        ("99999999999999999999", 3_600_000),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("Mon, 21 Sep 2026 14:13:30 GMT", 10_000),
        ("Monday, 21-Sep-26 14:13:30 GMT", 10_000),
        ("Mon Sep 21 14:13:30 2026", 10_000),
        ("Mon, 21 Sep 2026 14:13:30 -0000", 10_000),
        ("Mon, 21 Sep 2026 16:13:30 +0200", 10_000),
        ("Mon, 31 Feb 2026 14:13:30 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600_000),
    ],
)
def test_retry_after_in_both_its_forms(
    value: str | None, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert retry_after_ms(value, NOW) == expected


@given(st.integers(100, 599), st.binary(max_size=200), st.dictionaries(st.sampled_from(["Retry-After"]), st.text()))
def test_any_answer_has_an_outcome_whose_result_can_be_stored(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    found = outcome(status, body, headers)
    if isinstance(found, Succeeded):
        assert b"\x00" not in bytes(found.result)
        msgspec.json.decode(bytes(found.result).decode())
    if isinstance(found, Failed):
        assert found.error
        assert "\x00" not in found.error


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=20))
def test_sound_json_is_kept_byte_by_byte(value: object) -> None:
    body = msgspec.json.encode(value)
    kept = bytes(result_of(body))
    assert kept == body or b"\\u0000" in body


@pytest.mark.parametrize(
    ("charset", "body", "expected"),
    [
        ("iso-8859-1", "grüße".encode("latin-1"), "grüße"),
        ('"ISO-8859-15"', "10 €".encode("iso-8859-15"), "10 €"),
        ("windows-1252", b"\x93so\x94", "“so”"),
        ("utf-16", "grüße".encode("utf-16"), "grüße"),
        ("shift_jis", "電車".encode("shift_jis"), "電車"),
        ("gb18030", "火车".encode("gb18030"), "火车"),
        ("UTF-8", "grüße".encode(), "grüße"),
        ("utf-8", b"gr\xfc", "gr\ufffd"),
        ("us-ascii", "grüße".encode(), "grüße"),
        ("unheard-of", "grüße".encode(), "grüße"),
        ("utf-7", b"+AGE-", "+AGE-"),
        ("rot13", b"uryyb", "uryyb"),
        ("zip", b"x", "x"),
        ("idna", b"xn--a", "xn--a"),
        ("unicode_escape", b"\\x41", "\\x41"),
        ("", b"plain", "plain"),
    ],
)
def test_text_is_read_in_its_charset(charset: str, body: bytes, expected: str) -> None:
    found = outcome(200, body, {"Content-Type": f"text/plain; charset={charset}"})
    assert isinstance(found, Succeeded)
    assert msgspec.json.decode(bytes(found.result)) == expected


def test_json_in_another_charset_is_json_still_and_so_are_its_errors() -> None:
    headers = {"Content-Type": "application/json;charset=ISO-8859-1"}
    found = outcome(200, '{"status":"success","result":{"ort":"Köln"}}'.encode("latin-1"), headers)
    assert isinstance(found, Succeeded)
    assert msgspec.json.decode(bytes(found.result)) == {"ort": "Köln"}
    assert failed(422, '{"error":"kein Gleis für Köln"}'.encode("latin-1"), headers).error.endswith("für Köln")


def test_a_result_that_grows_beyond_the_limit_in_utf8_is_too_large() -> None:
    found = outcome(200, b"\xfc" * (RESULT_BYTES_MAX - 2), {"Content-Type": "text/plain; charset=latin-1"})
    assert isinstance(found, Failed)
    assert found.code == "result-too-large"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, chunked", "zstd"])
def test_a_transfer_coding_nobody_asked_for_is_the_server_s_fault(coding: str) -> None:
    assert failed(200, b"\x1f\x8b", {"Transfer-Encoding": coding}).server_fault
    assert result(200, b"{}") == b"{}"
    assert isinstance(outcome(200, b"{}", {"Transfer-Encoding": "Chunked"}), Succeeded)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_will_never_take_it_is_not_asked_again(status: int) -> None:
    assert failed(status, b"", {"X-Pointsman-Retry": "no", "Retry-After": "3"}).final


def test_which_statuses_are_final_is_the_operator_s_to_say() -> None:
    for final, status, expected in (({501}, 501, True), ({501}, 404, False), (set(), 400, False)):
        found = outcome_of(Answer(status, {}, b""), now=NOW, final_statuses=frozenset(final))
        assert isinstance(found, Failed)
        assert found.final is expected
