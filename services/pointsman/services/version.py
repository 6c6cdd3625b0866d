"""The version every service answers to PING and INFO."""

VERSION = "0.1.0"
