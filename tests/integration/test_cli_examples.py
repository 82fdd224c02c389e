"""docs/cli.md is true: each of its commands is run as it stands, and says what the page says it says."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streams.embedded_broker import EmbeddedBroker
from tests import foreign_records
from tests.unit.test_cli import free_port, invoice, lines, posting

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"
LONG_RUNNING = ("store", "worker", "dashboard")
LIMIT_S, STOP_LIMIT_S = 90, 60


_ports: dict[str, str] = {}


def with_free_ports(text: str) -> str:
    """The page's ports are examples; the run takes free ones, each the same throughout."""
    return re.sub(r"\b18\d{3}\b", lambda port: _ports.setdefault(port[0], str(free_port())), text)


def examples() -> list[tuple[str, str]]:
    """(command, what it is said to print first), in the page's order."""
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    told = with_free_ports("".join(blocks)).split("$ ")[1:]
    return [(command, output.strip()) for command, _, output in (entry.partition("\n") for entry in told)]


def test_the_page_shows_every_command() -> None:
    from tests.unit.test_cli import COMMANDS

    shown = {command.split()[1] for command, _ in examples()}
    assert shown == set(COMMANDS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "records").mkdir()
    good = lines(invoice("INV-1"), posting("INV-1"), invoice("INV-2"), posting("INV-2", 11000))
    (tmp_path / "records" / "a.jsonl").write_bytes(good + b'{"type":"invoice.exploded"}\n')
    (tmp_path / "policy.toml").write_text("[tolerance]\namount_minor = 5\n")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "tieout"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tieout "$@"\n')
    command.chmod(0o755)
    return tmp_path


@contextmanager
def stopped_in_the_end() -> Iterator[list["subprocess.Popen[bytes]"]]:
    processes: list[subprocess.Popen[bytes]] = []
    try:
        yield processes
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_LIMIT_S) in (0, -signal.SIGTERM), process.args
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_every_example_of_the_page_does_what_it_says(folder: Path) -> None:
    with EmbeddedBroker(sources=["canonical"]) as broker, stopped_in_the_end() as started:
        env = {
            **os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "TIEOUT_BOOTSTRAP": broker.bootstrap, "TIEOUT_STORE": with_free_ports("http://127.0.0.1:18124"),
        }  # fmt: skip
        letter_of_another_application(broker.bootstrap, "orders.DLT")
        for command, said in examples():
            if command.split()[1] in LONG_RUNNING:
                started.append(start_and_see(command, said, folder, env))
            elif command.startswith(("tieout dlq list", "tieout tie-out --entity")):
                ask_until(command, said, folder, env)
            else:
                run_and_see(command, said, folder, env)
    verdicts = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    assert [verdict["outcome"] for verdict in verdicts] == ["pending", "break"]


def letter_of_another_application(bootstrap: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, foreign_records.VALUE, foreign_records.KEY, headers=foreign_records.spring())
    assert producer.flush(30) == 0


def run_and_see(command: str, said: str, folder: Path, env: dict[str, str]) -> None:
    output = output_of(command, folder, env)
    assert said in output, f"{command}: {output}"


def ask_until(command: str, said: str, folder: Path, env: dict[str, str]) -> None:
    """For what a worker brings about."""
    deadline = time.monotonic() + LIMIT_S
    while said not in (output := output_of(command, folder, env)):
        assert time.monotonic() < deadline, f"{command}: {output}"


def output_of(command: str, folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env=env, capture_output=True, timeout=LIMIT_S, check=False
    )
    output = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, f"{command}: {output}"
    return output


def start_and_see(command: str, said: str, folder: Path, env: dict[str, str]) -> "subprocess.Popen[bytes]":
    log = folder / f"{command.split()[1]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command.split(), cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + LIMIT_S
    while said not in log.read_text():
        assert process.poll() is None and time.monotonic() < deadline, f"{command}: {log.read_text()}"
        time.sleep(0.05)
    return process
