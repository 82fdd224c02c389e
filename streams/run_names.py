"""Runs that the store keeps by name, of replays and of historical loads: what they may be called, and who started one."""

import getpass
import socket

MAX_RUN_CHARS = 64


def objection(name: str) -> str | None:
    """Why a run cannot be called so; None where it can."""
    if name.replace("-", "").replace("_", "").isalnum() and len(name) <= MAX_RUN_CHARS:
        return None
    return f"a run's name is letters, digits, - and _, at most {MAX_RUN_CHARS}, not {name!r}"


def starter() -> str:
    """The person and the machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
