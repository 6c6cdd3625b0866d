"""What holds for every test."""

import signal
from collections.abc import Iterator

import pytest
import structlog

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts this in the background has it and all it starts ignore Ctrl-C, which tests send to programs.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that is run within a test sets up logging for its process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
