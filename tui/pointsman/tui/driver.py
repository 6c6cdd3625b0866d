"""The terminal: bytes that nobody typed come from it, and a shell may wait behind it."""

import os

from textual.drivers.linux_driver import LinuxDriver


class TerminalDriver(LinuxDriver):
    """A terminal set to Latin-1, a binary that was pasted or noise on the line is passed over, and keys are read on."""

    @property
    def can_suspend(self) -> bool:
        """Whether a shell with job control waits behind: without one nobody could call a stopped cockpit back."""
        parent = os.getppid()
        try:
            return os.getsid(parent) == os.getsid(0) and os.getpgid(parent) != os.getpgrp()
        except OSError:
            return False

    def run_input_thread(self) -> None:
        while not self.exit_event.is_set():
            try:
                super().run_input_thread()
            except UnicodeDecodeError:
                continue
