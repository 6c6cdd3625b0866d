"""The demo's input, every module of the running Python's standard library, and the same counts made here."""

import asyncio
import base64
import importlib.util
import io
import json
import multiprocessing
import os
import signal
import sysconfig
import tokenize
import warnings
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PLAIN_SOURCE_BYTES_MAX = 200_000
NICE = 10
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class Module:
    name: str
    path: Path


@dataclass(frozen=True)
class Counts:
    """What the analysis says of one module; `longest` is (lines, function) or None."""

    lines: int
    tokens: int
    functions: int
    longest: tuple[int, str] | None
    syntax_error: bool

    @classmethod
    def from_result(cls, result: object) -> "Counts":
        """From the JSON of a result; ValueError when it has another shape."""
        try:
            assert isinstance(result, dict)
            longest = result["longestFunction"]
            return cls(
                lines=int(result["lines"]),
                tokens=int(result["tokens"]),
                functions=int(result["functions"]),
                longest=None if longest is None else (int(longest["lines"]), str(longest["name"])),
                syntax_error=bool(result.get("syntaxError", False)),
            )
        except (AssertionError, KeyError, TypeError) as error:
            raise ValueError(f"not an analysis: {result!r:.200}") from error


def modules(limit: int | None = None) -> list[Module]:
    """Each .py file of the standard library, tests included, in the order of their names."""
    root = Path(sysconfig.get_path("stdlib"))
    files = (path.relative_to(root) for path in root.rglob("*.py"))
    found = sorted(path for path in files if not LEFT_OUT & set(path.parts))
    return [Module(".".join(path.with_suffix("").parts), root / path) for path in found[:limit]]


def payload(module: Module) -> dict[str, str]:
    """The task's payload; what would be near the payload limit, or holds a NUL, goes compressed."""
    source = read_source(module.path)
    if len(json.dumps(source, ensure_ascii=False).encode()) <= PLAIN_SOURCE_BYTES_MAX and "\0" not in source:
        return {"module": module.name, "source": source}
    packed = base64.b64encode(zlib.compress(source.encode(), level=9)).decode()
    return {"module": module.name, "sourceZlib": packed}


def read_source(path: Path) -> str:
    """The text as Python would decode it, and as Latin-1 where Python would refuse."""
    data = path.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        return data.decode("latin-1")


async def count_locally(corpus: Iterable[Module], examples: Path) -> dict[str, Counts]:
    """The counts by module name, made by the example backends' own code in nice'd processes here."""
    pool = ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker)
    loop = asyncio.get_running_loop()
    try:
        made = [
            (module.name, loop.run_in_executor(pool, _count, examples / "analysis.py", module.path))
            for module in corpus
        ]
        return {name: Counts.from_result(await result) for name, result in made}
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    warnings.simplefilter("ignore")


def _count(analysis: Path, module: Path) -> object:
    return _analyse_of(analysis)(read_source(module))


def _analyse_of(path: Path) -> Callable[[str], object]:
    spec = importlib.util.spec_from_file_location("pointsman_example_analysis", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    analyse: Callable[[str], object] = module.analyse
    return analyse
