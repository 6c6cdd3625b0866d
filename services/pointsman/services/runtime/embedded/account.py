"""Whom the database runs as: the caller, or, started by root, the user nobody; and what that user can reach."""

import grp
import os
import pwd
import stat
from pathlib import Path

import msgspec


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user and its group."""

    uid: int
    gid: int

    @property
    def is_current(self) -> bool:
        return self.uid == os.geteuid()


def for_database() -> Account:
    """Postgres refuses to run as root, so there it is nobody."""
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid())
    nobody = pwd.getpwnam("nobody")
    return Account(uid=nobody.pw_uid, gid=_group_of(nobody))


def reaches(account: Account, folder: Path) -> bool:
    """Whether the account can go through every folder down to this one."""
    return all(_may_enter(account, step) for step in (folder, *folder.parents) if step.exists())


def may_execute(account: Account, program: Path) -> bool:
    return reaches(account, program.parent) and _may_enter(account, program)


def _may_enter(account: Account, path: Path) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _group_of(user: pwd.struct_passwd) -> int:
    try:
        return grp.getgrnam("nogroup").gr_gid
    except KeyError:
        return user.pw_gid
