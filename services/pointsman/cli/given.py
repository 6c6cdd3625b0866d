"""The options that every command takes, before or after its name; what is None was not given."""

from pathlib import Path

import msgspec
from msgspec.structs import replace


class Given(msgspec.Struct, frozen=True, kw_only=True):
    context: str | None = None
    config_path: Path | None = None
    data_dir: Path | None = None
    url: str | None = None
    token: str | None = None
    output: str | None = None
    columns: str | None = None
    time: str | None = None
    color: str | None = None
    timeout_s: float | None = None
    read_only: bool | None = None

    def over(self, outer: "Given") -> "Given":
        """What was given nearer to the command wins."""
        nearer = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        return replace(outer, **nearer)

    def of_folder(self, folder: Path) -> "Given":
        return replace(self, data_dir=folder, config_path=None)
