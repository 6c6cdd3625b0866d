"""Our own services as child processes, configured by their environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pointsman.services.runtime.embedded import child
from pointsman.services.runtime.settings import PREFIX, Settings, to_env

GROUPS = (("gateway",), ("task", "registry"), ("balancer",), ("instance",), ("history", "statistics"))


class ServiceGroup:
    """Launches one process that runs the named services; the gateway tells when all of it is ready."""

    def __init__(self, names: tuple[str, ...], settings: Settings, logs: Path, *, keeps: tuple[int, ...]) -> None:
        self.name = "-".join(names)
        log = logs / f"{self.name}.log"
        self._program = python("-m", "pointsman.services", *names, settings=settings, log=log, keeps=keeps)

    @property
    def log(self) -> Path:
        return self._program.log

    async def program(self) -> child.Program:
        return self._program

    async def ready(self) -> None:
        return


def python(*arguments: str, settings: Settings, log: Path, keeps: tuple[int, ...]) -> child.Program:
    """This Python with these settings and no others of ours."""
    return child.Program(
        argv=(sys.executable, "-P", *arguments),
        log=log,
        env=_foreign(os.environ) | to_env(settings),
        keeps=keeps,
    )


def _foreign(env: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in env.items() if not key.startswith(PREFIX)}
