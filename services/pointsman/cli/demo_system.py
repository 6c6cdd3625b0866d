"""A whole Pointsman for the demo or a benchmark: `pointsman up` in a process of its own, and a token for it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pointsman.cli.demo_child import Child, StepFailed, output_of

COMMAND = ("-m", "pointsman.cli.main")
START_S_MAX = 60.0

PASS_THROUGH = 0o711


@contextmanager
def fresh_folder(prefix: str) -> Iterator[Path]:
    """A data folder that is removed at the end. Root's own lets the database's user pass through, as `up` makes it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        if os.geteuid() == 0:
            folder.chmod(PASS_THROUGH)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class System:
    url: str
    token: str
    child: Child

    @classmethod
    async def start(cls, data_dir: Path, *, port: int, owner: str) -> Self:
        """Ready to take tasks within 60 s, or StepFailed with the end of what it printed."""
        place = ("--data-dir", str(data_dir))
        child, url = await Child.start(
            "pointsman up",
            (*COMMAND, "up", *place, "--port", str(port)),
            ready=r"^ready (http://\S+)$",
            timeout_s=START_S_MAX,
        )
        try:
            token = await output_of("pointsman token", (*COMMAND, "token", "--role", "admin", "--sub", owner, *place))
        except BaseException:
            await child.stop()
            raise
        if not token:
            await child.stop()
            raise StepFailed("pointsman token printed nothing")
        return cls(url.rstrip("/"), token.splitlines()[-1], child)

    async def stop(self) -> None:
        await self.child.stop(timeout_s=30)
