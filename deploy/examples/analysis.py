"""What the example backends do for a living: measure the source text of one Python module."""

import ast
import base64
import io
import tokenize
import zlib

SOURCE_BYTES_MAX = 8 * 1024 * 1024
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError)


def source_of(payload: object) -> str:
    """The source in a task's payload: `source`, or `sourceZlib` (base64 of zlib). ValueError names what is wrong."""
    if not isinstance(payload, dict):
        raise ValueError("payload: not an object")
    source, packed = payload.get("source"), payload.get("sourceZlib")
    if isinstance(source, str):
        return source
    if not isinstance(packed, str):
        raise ValueError("payload: neither source nor sourceZlib is given as text")
    return _unpacked(packed)


def _unpacked(packed: str) -> str:
    inflate = zlib.decompressobj()
    try:
        source = inflate.decompress(base64.b64decode(packed, validate=True), SOURCE_BYTES_MAX)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"payload.sourceZlib: {error}") from None
    if not inflate.eof:
        raise ValueError(f"payload.sourceZlib: cut off, or more than {SOURCE_BYTES_MAX} bytes")
    return source.decode()


def analyse(source: str) -> dict[str, object]:
    """Counts of one module. Source that is not Python gives the counts up to there and `"syntaxError": true`."""
    tokens, tokenized = _count_tokens(source)
    functions = _functions(source)
    result: dict[str, object] = {
        "lines": source.count("\n") + (not source.endswith("\n") and source != ""),
        "tokens": tokens,
        "functions": len(functions or ()),
        "longestFunction": _longest(functions or []),
    }
    return result if tokenized and functions is not None else result | {"syntaxError": True}


def _count_tokens(source: str) -> tuple[int, bool]:
    count = 0
    try:
        for _ in tokenize.generate_tokens(io.StringIO(source).readline):
            count += 1
    except UNREADABLE:
        return count, False
    return count, True


def _functions(source: str) -> list[tuple[str, int, int]] | None:
    """(name, lines, first line) of each function, or None when the source does not parse."""
    try:
        tree = ast.parse(source)
    except UNREADABLE:
        return None
    return [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _longest(functions: list[tuple[str, int, int]]) -> dict[str, object] | None:
    if not functions:
        return None
    name, lines, _ = max(functions, key=lambda function: (function[1], -function[2]))
    return {"name": name, "lines": lines}
