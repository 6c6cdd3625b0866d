"""The command line."""

from pointsman.cli import quick as quick
