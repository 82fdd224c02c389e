"""The demo: everything on this machine, started together, watched, and stopped together.

broker (in memory) and store (on disk, kept) → worker → generator of a living company → dashboard, and tie-outs of its months.
Each is this program's own command in a process of its own; their logs are in `<folder>/logs`. Nothing is started where a port is taken.
"""

import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

from streams.supervisor import Supervisor, port_holder

HOST = "127.0.0.1"
BROKER_LIMIT_S, STORE_LIMIT_S, PAGES_LIMIT_S, VERDICTS_LIMIT_S = 20.0, 30.0, 60.0, 60.0
ANSWER_TIMEOUT_S = 2.0
CLOSE_EVERY_S = 60


class PortTaken(Exception):
    """Something else listens where the demo would."""


class Plan(NamedTuple):
    """Where and how; ports are on 127.0.0.1."""

    folder: Path
    port: int
    store_port: int
    metrics_port: int
    rate_per_s: float
    for_s: float | None
    sources: Sequence[str]

    @property
    def store_url(self) -> str:
        return f"http://{HOST}:{self.store_port}"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def run(plan: Plan, command: Sequence[str], say: Callable[[str], None]) -> None:
    """Until Ctrl-C, or for `for_s`. `command` is how this program is called. Raises PortTaken, ChildDied, TookTooLong."""
    _refuse_taken_ports(plan)
    address_file = plan.folder / "broker.address"
    address_file.unlink(missing_ok=True)
    with Supervisor(plan.folder / "logs") as processes:
        processes.start("broker", [*command, "broker", str(address_file)])
        processes.start("store", [*command, "store", "--path", str(plan.folder / "store"), "--port", str(plan.store_port)])  # fmt: skip
        bootstrap = processes.wait_for("the broker", lambda: _text(address_file), BROKER_LIMIT_S)
        processes.wait_for("the store", lambda: _get(f"{plan.store_url}/ping"), STORE_LIMIT_S)
        _prepare(plan, bootstrap)
        where = {
            "TIEOUT_BOOTSTRAP": bootstrap, "TIEOUT_STORE": plan.store_url, "TIEOUT_DASHBOARD": plan.url,
            "TIEOUT_SOURCES": ",".join(plan.sources),
        }  # fmt: skip
        processes.start("worker", [*command, "worker", "--metrics-port", str(plan.metrics_port)], where)
        processes.start("generator", [*command, "generate", "--rate", str(plan.rate_per_s)], where)
        processes.start("dashboard", [*command, "dashboard", "--port", str(plan.port)], where)
        processes.wait_for("the first verdicts", lambda: _verdicts(plan.store_url), VERDICTS_LIMIT_S)
        processes.wait_for("the dashboard", lambda: _get(f"{plan.url}/_stcore/health"), PAGES_LIMIT_S)
        processes.start("close", [*command, "close", "refresh", "--every", str(CLOSE_EVERY_S)], where)
        say(f"tieout is live at {plan.url} (Ctrl-C stops everything; logs in {processes.logs})")
        processes.watch(plan.for_s)


def _refuse_taken_ports(plan: Plan) -> None:
    ports = {"dashboard": ("--port", plan.port), "store": ("--store-port", plan.store_port), "metrics": ("--metrics-port", plan.metrics_port)}  # fmt: skip
    for what, (option, port) in ports.items():
        reason = port_holder(HOST, port)
        if reason:
            raise PortTaken(
                f"port {port} for the {what} cannot be used ({reason}): stop what listens there, or choose another with {option}"
            )


def _prepare(plan: Plan, bootstrap: str) -> None:
    """Schema and topics, before anybody uses them."""
    from sinks.client import connect
    from sinks.migrate import migrate
    from streams.topics import create

    migrate(connect(plan.store_url))
    create(bootstrap, sources=plan.sources)


def _verdicts(store_url: str) -> str | None:
    found = _get(f"{store_url}/?query=SELECT+count()+FROM+tieout.verdicts")
    return None if found in (None, "0") else found


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S) as answer:
            return str(answer.read().decode().strip())
    except (URLError, OSError):
        return None


def _text(path: Path) -> str | None:
    return path.read_text().strip() if path.exists() else None


def this_program() -> list[str]:
    """How a child calls the command line that was called."""
    return [sys.executable, "-m", "tieout"]
