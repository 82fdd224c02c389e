"""The command line as a user meets it: in a process of its own, by its output, its files and its exit code."""

import base64
import gzip
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from canonical import records
from canonical.events import EVENTS

ROOT = Path(__file__).parents[2]
TIEOUT = [sys.executable, "-m", "tieout"]
COMMANDS = (
    "demo",
    "schema",
    "map",
    "reconcile",
    "send",
    "worker",
    "store",
    "dashboard",
    "topics",
    "migrate",
    "retention",
    "verify",
    "doctor",
    "heartbeat",
    "dlq",
    "replay",
    "backfill",
    "tie-out",
    "close",
    "policy",
    "parallel-run",
)
NOBODY = {"TIEOUT_BOOTSTRAP": "127.0.0.1:1", "TIEOUT_STORE": "http://127.0.0.1:1"}


def tieout(*args: str | Path, stdin: bytes = b"", cwd: Path = ROOT, env: dict[str, str] | None = None) -> Any:
    command = [*TIEOUT, *map(str, args)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, env=environment, timeout=60, check=False)


def refusal(done: Any) -> str:
    """The one sentence of a command that could not be done as asked."""
    said = done.stderr.decode()
    assert done.returncode == 2, said
    assert "Traceback" not in said and said.startswith("tieout: ") and said.count("\n") == 1, said
    return str(said)


def invoice(number: str, event_type: str = "invoice.issued", **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": f"billing:{number}:{event_type}", "source": "billing/main", "type": event_type,
        "subject": number, "time": "2026-01-02T03:04:05Z", "dataschema": f"urn:tieout:{event_type}:1",
        "correlationid": f"invoice:acme:billing:{number}",
        "data": {
            "entity": "acme", "document_id": number, "currency": "USD", "total_minor": 12000, "direction": "sales",
            "due_date": "2026-02-01",
        },
        **changes,
    }  # fmt: skip


def posting(number: str, amount_minor: int = 12000, **changes: Any) -> dict[str, Any]:
    data = {
        "entity": "acme", "document_id": f"J-{number}", "ledger": "main", "document_type": "invoice",
        "posting_kind": "document", "currency": "USD", "base_currency": "USD",
        "lines": [
            {"role": "receivable", "amount_minor": amount_minor, "base_minor": amount_minor},
            {"role": "revenue", "amount_minor": -amount_minor, "base_minor": -amount_minor},
        ],
    }  # fmt: skip
    envelope = invoice(number, "posting.recorded", source="erp/main", id=f"erp:J-{number}", data=data)
    return envelope | {"time": "2026-01-02T03:06:05Z"} | changes


def lines(*events: Any) -> bytes:
    return b"".join((event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n" for event in events)


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """Two invoices, one posted wrongly."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(lines(invoice("INV-1"), posting("INV-1"), invoice("INV-2"), posting("INV-2", 11000)))
    return path


# --- help -----------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_with_one_line() -> None:
    said = tieout("--help").stdout.decode()
    for command in COMMANDS:
        (line,) = re.findall(rf"^  {command} +(\S.*)$", said, re.MULTILINE)
        assert line.endswith("."), f"cut off: {line}"


def test_help_imports_nothing_that_takes_long() -> None:
    code = "import sys, runpy; sys.argv = ['tieout', '--help']\ntry: runpy.run_module('tieout', run_name='__main__')\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, timeout=60, check=True)
    loaded = set(done.stdout.decode().splitlines()[-1].split())
    assert not loaded & {"pydantic", "msgspec", "faust", "confluent_kafka", "clickhouse_connect", "streamlit", "rich", "aiohttp"}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_of_its_use(command: str) -> None:
    done = tieout(command, "--help")
    assert done.returncode == 0
    assert f"Example: tieout {command}" in done.stdout.decode()


def test_a_misspelt_command_or_option_is_exit_code_2() -> None:
    for args in (
        ["recncile"],
        ["map"],
        ["topics", "--partitions", "many"],
        ["topics", "--partitions", "0"],
        ["demo", "--x"],
    ):
        done = tieout(*args)
        assert done.returncode == 2 and b"Traceback" not in done.stderr, args


def test_version_is_told() -> None:
    assert re.fullmatch(rb"tieout \d+\.\d+\.\d+\n", tieout("--version").stdout)


# --- schema ---------------------------------------------------------------------------------------------------------


def test_schema_describes_all_events_or_one() -> None:
    assert set(json.loads(tieout("schema").stdout)["discriminator"]["mapping"]) == set(EVENTS)
    one = json.loads(tieout("schema", "invoice.issued").stdout)
    assert one["properties"]["type"]["const"] == "invoice.issued"
    assert "unknown event type 'invoice.exploded'" in refusal(tieout("schema", "invoice.exploded"))


# --- map ------------------------------------------------------------------------------------------------------------


def test_map_writes_events_and_dead_letters_and_a_summary(tmp_path: Path) -> None:
    bad = b'{"specversion":"1.0","type":"invoice.exploded"}'
    (tmp_path / "in.jsonl").write_bytes(lines(invoice("INV-1"), bad, invoice("INV-2"), b"\xff\x00"))
    events, letters = tmp_path / "events.jsonl", tmp_path / "letters.jsonl"
    done = tieout("map", "canonical", tmp_path / "in.jsonl", "-o", events, "--dead-letters", letters)
    assert done.returncode == 0
    assert done.stderr == b"mapped 4 records to 2 events, 2 dead letters\n" and done.stdout == b""
    assert [records.decode(line).subject for line in events.read_bytes().splitlines()] == ["INV-1", "INV-2"]
    first, second = (json.loads(line) for line in letters.read_bytes().splitlines())
    assert list(first) == ["class", "reason", "source", "path", "line", "original"]
    assert (first["class"], first["source"], first["line"]) == ("mapping", "canonical", 2)
    assert first["path"] == str(tmp_path / "in.jsonl") and "invoice.exploded" in first["reason"]
    assert [base64.b64decode(letter["original"]) for letter in (first, second)] == [bad, b"\xff\x00"]


def test_map_writes_to_standard_output_without_a_file(books: Path) -> None:
    done = tieout("map", "canonical", books)
    assert len(done.stdout.splitlines()) == 4 and done.returncode == 0


def test_map_refuses_an_unknown_source_and_a_wrong_path(tmp_path: Path) -> None:
    assert "unknown source 'strype'; known are canonical, stripe" in refusal(tieout("map", "strype", tmp_path))
    assert "no such file or folder" in refusal(tieout("map", "stripe", tmp_path / "nothing"))


def test_map_leaves_the_old_output_where_the_new_one_could_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("as it was")
    refusal(tieout("map", "canonical", tmp_path / "nothing", "-o", tmp_path / "events.jsonl"))
    (tmp_path / "empty").mkdir()
    refusal(tieout("map", "canonical", tmp_path / "empty", "-o", tmp_path / "events.jsonl"))
    assert (tmp_path / "events.jsonl").read_text() == "as it was"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "events.jsonl"]


def test_an_output_in_a_folder_that_does_not_exist_is_a_clear_refusal(books: Path) -> None:
    assert "cannot write" in refusal(tieout("map", "canonical", books, "-o", books.parent / "no" / "where"))


def test_an_output_may_be_a_device(books: Path) -> None:
    assert tieout("map", "canonical", books, "-o", "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()


# --- reconcile ------------------------------------------------------------------------------------------------------


def verdicts(done: Any) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return {verdict["document"]: verdict for verdict in map(json.loads, done.stdout.splitlines())}


def test_reconcile_gives_one_verdict_a_case_with_what_the_contract_names(books: Path) -> None:
    done = tieout("reconcile", books)
    assert done.stderr == b"reconciled 4 events to 2 verdicts, 0 dead letters\n"
    found = verdicts(done)
    right, wrong = found["INV-1"], found["INV-2"]
    assert {
        "correlation_id", "outcome", "controls", "breaks", "hops", "exposure_minor", "currency", "facts",
        "next_deadline", "policy",
    } <= set(right)  # fmt: skip
    assert {"name", "result", "reason"} <= set(right["controls"][0])
    assert {"name", "started_at", "ended_at", "latency_s", "target_s", "state"} <= set(right["hops"][0])
    assert right["breaks"] == [] and right["facts"] == 2
    (only,) = wrong["breaks"]
    assert {"class", "control", "expected", "actual", "variance_minor", "currency", "evidence"} <= set(only)
    assert (only["class"], only["variance_minor"], wrong["outcome"], wrong["exposure_minor"]) == ("amount", 1000, "break", 1000)  # fmt: skip


def test_reconcile_reads_standard_input_gzip_and_several_files_alike(books: Path) -> None:
    plain = tieout("reconcile", books).stdout
    assert tieout("reconcile", "-", stdin=books.read_bytes()).stdout == plain
    packed = books.with_suffix(".gz")
    packed.write_bytes(gzip.compress(books.read_bytes()))
    assert tieout("reconcile", packed).stdout == plain
    assert tieout("reconcile", "-", stdin=packed.read_bytes()).stdout == plain
    halves = books.read_bytes().splitlines(keepends=True)
    (books.parent / "a").write_bytes(b"".join(halves[2:]))
    (books.parent / "b").write_bytes(b"".join(halves[:2]))
    assert tieout("reconcile", books.parent / "a", books.parent / "b").stdout == plain


def test_reconcile_as_of_a_later_time_finds_what_is_late(books: Path) -> None:
    def hop(done: Any) -> str:
        return str(next(hop["state"] for hop in verdicts(done)["INV-1"]["hops"] if hop["name"] == "invoice_to_payment"))

    assert hop(tieout("reconcile", books)) == "waiting"
    assert hop(tieout("reconcile", books, "--as-of", "2026-02-10T00:00:00Z")) == "late"
    assert hop(tieout("reconcile", books, "--as-of", "2026-06-10T00:00:00+02:00")) == "missing"


def test_a_bad_line_is_counted_and_shown_with_its_place_and_the_rest_is_judged(books: Path) -> None:
    bad = [b"{", b"\xff\xfe", lines(invoice("INV-3", time="never")).strip(), b"\0", b"[]", b'{"type":1}']
    books.write_bytes(books.read_bytes() + b"\n  \n" + lines(*bad))
    done = tieout("reconcile", books)
    assert set(verdicts(done)) == {"INV-1", "INV-2"}
    said = done.stderr.decode().splitlines()
    assert said[-1] == "reconciled 4 events to 2 verdicts, 6 dead letters"
    assert said[-2] == "... and 1 more"
    assert [line.split(": ")[0] for line in said[:5]] == [f"{books}:{number}" for number in (7, 8, 9, 10, 11)]


def test_a_line_of_many_megabytes_is_one_dead_letter(books: Path) -> None:
    books.write_bytes(b'{"x":"' + b"y" * 5_000_000 + b'"}\n' + books.read_bytes())
    done = tieout("reconcile", books)
    assert set(verdicts(done)) == {"INV-1", "INV-2"} and b"1 dead letters" in done.stderr


def test_nothing_at_all_gives_no_verdict(tmp_path: Path) -> None:
    done = tieout("reconcile", "-")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"reconciled 0 events to 0 verdicts, 0 dead letters\n"


def test_a_policy_changes_the_verdict_and_a_wrong_one_is_named_by_its_key(books: Path, tmp_path: Path) -> None:
    lax = tmp_path / "lax.toml"
    lax.write_text("[tolerance]\namount_minor = 1000\n")
    strict, relaxed = (verdicts(tieout("reconcile", books, *more))["INV-2"] for more in ([], ["--policy", lax]))
    assert strict["policy"] != relaxed["policy"] and relaxed["breaks"] == []
    lax.write_text("[tolerance]\namuont_minor = 1000\n")
    assert "amuont_minor" in refusal(tieout("reconcile", books, "--policy", lax))
    lax.write_text("[tolerance\n")
    assert "not TOML" in refusal(tieout("reconcile", books, "--policy", lax))
    assert "cannot read policy" in refusal(tieout("reconcile", books, "--policy", tmp_path / "none.toml"))


@pytest.mark.parametrize("time", ["yesterday", "2026-01-02", "2026-01-02T03:04:05", ""])
def test_an_as_of_that_is_no_moment_is_refused(books: Path, time: str) -> None:
    assert "is no RFC 3339 time" in refusal(tieout("reconcile", books, "--as-of", time))


def test_reconcile_refuses_a_file_that_is_not_there_or_damaged(tmp_path: Path, books: Path) -> None:
    assert "no such file" in refusal(tieout("reconcile", tmp_path / "nothing"))
    assert "no such file" in refusal(tieout("reconcile", books, tmp_path))
    packed = tmp_path / "cut.gz"
    packed.write_bytes(gzip.compress(books.read_bytes())[:-20])
    out = tmp_path / "verdicts.jsonl"
    assert "damaged compressed data" in refusal(tieout("reconcile", packed, "-o", out))
    assert not out.exists()


def test_output_appears_whole_and_replaces_the_old_one(books: Path, tmp_path: Path) -> None:
    out = tmp_path / "verdicts.jsonl"
    out.write_text("old")
    assert tieout("reconcile", books, "-o", out).stdout == b""
    assert len(out.read_bytes().splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    many = tmp_path / "many.jsonl"
    many.write_bytes(b"".join(lines(invoice(f"INV-{number}")) for number in range(3000)))
    for command in (["map", "canonical", str(many)], ["reconcile", str(many)]):
        process = subprocess.Popen([*TIEOUT, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""
        process.stderr.close()


def test_a_progress_bar_shows_on_a_terminal_only(books: Path, tmp_path: Path) -> None:
    code = "import tieout; tieout.PROGRESS_AFTER_S = 0; tieout._Bar.EVERY_S = 0; import sys; sys.argv = ['tieout', 'reconcile', sys.argv[1], '-o', sys.argv[2]]; tieout.main()"
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", code, str(books), str(tmp_path / "out")]
    try:
        assert subprocess.run(command, stderr=follower, cwd=ROOT, timeout=60, check=False).returncode == 0
        shown = os.read(leader, 100_000).decode(errors="replace")
    finally:
        os.close(leader)
        os.close(follower)
    assert "bytes" in shown and "reconciled 4 events" in shown
    quiet = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60, check=True)
    assert quiet.stderr == b"reconciled 4 events to 2 verdicts, 0 dead letters\n"


# --- the ones that need a broker or a store, without one ---------------------------------------------------------------


def test_send_topics_migrate_and_worker_say_what_does_not_answer(books: Path) -> None:
    needing_a_broker = (
        ["send", "canonical", books],
        ["topics"],
        ["worker"],
        ["verify"],
        ["backfill", "canonical", books],
    )
    for command in needing_a_broker:
        assert "no Kafka broker at 127.0.0.1:1: nothing answers" in refusal(tieout(*command, env=NOBODY))
    for command in (["migrate"], ["replay"]):
        assert "nothing answers at 127.0.0.1:1" in refusal(tieout(*command, env=NOBODY))
    assert "unknown source" in refusal(tieout("send", "strype", books, env=NOBODY))
    for command in ("topics", "worker", "doctor"):
        said = refusal(tieout(command, env=NOBODY | {"TIEOUT_SOURCES": "stripe,strype"}))
        assert "unknown source 'strype' in --sources; known are canonical, stripe" in said


def test_verify_refuses_a_time_it_cannot_read_and_a_window_that_is_empty() -> None:
    assert "--from 'yesterday' is no RFC 3339 time" in refusal(tieout("verify", "--from", "yesterday"))
    window = ["--from", "2026-03-02T00:00:00Z", "--to", "2026-03-01T00:00:00Z"]
    assert "--from must lie before --to" in refusal(tieout("verify", *window))


def test_dlq_says_in_one_sentence_what_it_cannot_do() -> None:
    for arguments, told in (
        (["list"], "nothing answers at 127.0.0.1:1"),
        (["list", "--class", "poison"], "--class 'poison' is none of transient, mapping, master_data, policy"),
        (["list", "--state", "closed"], "--state 'closed' is none of open, replayed, resolved, parked, discarded"),
        (["list", "--since", "yesterday"], "--since 'yesterday' is no RFC 3339 time"),
        (["replay", "raw.stripe-3-4711"], "'raw.stripe-3-4711' names no dead letter; write topic/partition/offset"),
        (["show", "raw.stripe/3/-1"], "'raw.stripe/3/-1' names no dead letter"),
        (["adopt", "orders.DLT", "--source", "strype"], "unknown source 'strype'"),
        (["adopt", "orders.DLT"], "nothing answers at 127.0.0.1:1"),
    ):
        assert told in refusal(tieout("dlq", *arguments, env=NOBODY)), arguments


def test_doctor_finds_what_is_wrong_and_says_what_to_do() -> None:
    done = tieout("doctor", "--json", env=NOBODY)
    assert done.returncode == 1 and done.stderr == b""
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert found["python"]["state"] == "ok" and found["disk"]["state"] == "ok"
    for check in ("broker", "store"):
        assert found[check]["state"] == "wrong" and found[check]["remedy"]
    table = tieout("doctor", env=NOBODY)
    assert table.returncode == 1 and b"nothing answers at 127.0.0.1:1" in table.stdout


@pytest.mark.parametrize("command", [["demo", "--port"], ["demo", "--store-port"], ["demo", "--metrics-port"], ["dashboard", "--port"], ["store", "--port"]])  # fmt: skip
def test_a_port_in_use_is_a_clear_message_before_anything_starts(command: list[str], tmp_path: Path) -> None:
    free = [free_port() for _ in range(3)]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        ports = ["--port", free[0], "--store-port", free[1], "--metrics-port", free[2]] if command[0] == "demo" else []
        done = tieout(command[0], *map(str, ports), command[1], str(taken), cwd=tmp_path)
    assert f"{taken}" in refusal(done)
    assert not list(tmp_path.rglob("*.log"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_installed_command_is_the_same_program() -> None:
    installed = shutil.which("tieout", path=str(Path(sys.executable).parent))
    if installed is None:
        pytest.skip("tieout is not installed in this environment")
    assert subprocess.run([installed, "--version"], capture_output=True, timeout=60, check=True).stdout.startswith(
        b"tieout "
    )


POLICY = """[hops.invoice_to_posting]
target_s = 60
[hops.invoice_to_posting.entities.acme]
calendar = "berlin"
[calendars.berlin]
kind = "business"
zone = "Europe/Berlin"
weekend = ["saturday", "sunday"]
[owners]
missing_posting = "platform"
[[version]]
valid_from = 2026-01-01
[version.severity]
missing_posting = "low"
"""


def test_policy_check_says_every_mistake_with_its_line(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(POLICY)
    bad.write_text(
        "[tolerance]\namount_minor = -1\n\n[owners]\namount = 'nobody'\n[hops.payout_to_bank]\ncalender = 'x'\n"
    )
    done = tieout("policy", "check", good)
    assert (done.returncode, done.stderr) == (0, b"") and b"in order, policy " in done.stdout
    done = tieout("policy", "check", bad)
    assert done.returncode == 1
    said = done.stdout.decode().replace(str(bad), "FILE").splitlines()
    assert [line.partition(")")[0] for line in said] == [
        "FILE: hops.payout_to_bank.calender (line 7", "FILE: tolerance.amount_minor (line 2", "FILE: owners.amount (line 5",
    ]  # fmt: skip
    problems = json.loads(tieout("policy", "check", bad, "--json").stdout)
    assert problems["policy"] is None and len(problems["problems"]) == 3
    assert "no-such.toml" in refusal(tieout("policy", "check", "no-such.toml"))
    bad.write_text("[owners\n")
    assert b"not TOML" in tieout("policy", "check", bad).stdout


def test_policy_explain_names_table_and_line_of_each_rule(tmp_path: Path) -> None:
    policy, events = tmp_path / "policy.toml", tmp_path / "events.jsonl"
    policy.write_text(POLICY)
    events.write_bytes(lines(invoice("INV-1")))
    key = json.loads(events.read_bytes().splitlines()[0])["correlationid"]
    done = tieout("policy", "explain", key, events, "--policy", policy, "--as-of", "2027-01-01T00:00:00Z")
    said = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    for line in (
        f"{key} is break, by policy ",
        "as it holds from 2026-01-01 00:00 UTC (line 11)",
        "invoice_to_posting is missing: started ",
        "  due: [hops.invoice_to_posting] target_s = 60 (line 2)",
        "  time runs: [hops.invoice_to_posting.entities.acme] calendar = berlin (line 4)",
        "  missing: [hops.invoice_to_posting] missing_after_s = 86400 (default)",
        "break missing_posting: ",
        "  owner platform: [owners] missing_posting = platform (line 10)",
        "  severity low: [severity] missing_posting = low (line 14)",
        "  expected: [expect.default] posting = true (default)",
    ):
        assert line in said, f"{line!r} is not in\n{said}"
    other = tieout(
        "policy", "explain", "--hop", "invoice_to_posting", "--entity", "globex", "--policy", policy
    ).stdout.decode()
    assert "time runs: [hops.invoice_to_posting] calendar = elapsed (default)" in other


def test_policy_explain_refuses_what_it_cannot_explain(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    events.write_bytes(lines(invoice("INV-1")))
    assert "no event of case invoice:x:y:z" in refusal(tieout("policy", "explain", "invoice:x:y:z", events))
    assert "unknown hop 'posting'" in refusal(tieout("policy", "explain", "--hop", "posting"))
    assert "either a case or --hop" in refusal(tieout("policy", "explain"))
    assert "127.0.0.1:1" in refusal(tieout("policy", "explain", "invoice:x:y:z", env=NOBODY))


def test_policy_schema_is_that_of_the_docs() -> None:
    assert json.loads(tieout("policy", "schema").stdout) == json.loads(
        (ROOT / "docs" / "policy.schema.json").read_text()
    )


def test_a_cent_that_is_let_pass_a_thousand_times_is_named(tmp_path: Path) -> None:
    events, policy = tmp_path / "events.jsonl", tmp_path / "policy.toml"
    numbers = [f"INV-{number}" for number in range(40)]
    events.write_bytes(
        b"".join(
            lines(invoice(number), posting(number, 12003 if at < 30 else 12000)) for at, number in enumerate(numbers)
        )
    )
    policy.write_text("[tolerance]\namount_minor = 5\ncap_minor = 90\n")
    done = tieout("policy", "tolerated", events, "--policy", policy)
    assert done.returncode == 0 and b"30 differences let pass, 0.90 USD (net 0.90 USD), cap 0.90 USD" in done.stdout
    policy.write_text("[tolerance]\namount_minor = 5\ncap_minor = 90\n[tolerance.caps.acme]\nUSD = 89\n")
    done = tieout("policy", "tolerated", events, "--policy", policy)
    assert (
        done.returncode == 1
        and b"break tolerance_cap; the largest are invoice:acme:billing:INV-0 0.03 USD" in done.stdout
    )
    told = json.loads(tieout("policy", "tolerated", events, "--policy", policy, "--json").stdout)
    assert [(line["entity"], line["let_pass_minor"], line["cap_minor"], line["break"]) for line in told] == [
        ("acme", 90, 89, "tolerance_cap")
    ]
    assert tieout("policy", "tolerated", events).stdout == b"", "without a tolerance nothing is let pass"


# --- tie-out, close, parallel-run -----------------------------------------------------------------------------------


def test_tie_out_names_the_difference_and_exits_1_where_no_balance_was_reported(books: Path) -> None:
    done = tieout("tie-out", books, "--entity", "acme", "--period", "2026-01")
    said = done.stdout.decode()
    assert done.returncode == 1
    assert "amount differs  -10.00  INV-2, posting J-INV-2" in said
    assert "missing: account receivable: the ledger reported no balance as of 2026-01-31" in said


def test_tie_out_as_json_is_the_record_that_is_written(books: Path, tmp_path: Path) -> None:
    out = tmp_path / "tie-out.json"
    done = tieout("tie-out", books, "--entity", "acme", "--period", "2026-01", "--json", "-o", out)
    record = json.loads(done.stdout)
    assert record == json.loads(out.read_bytes())
    (receivable, _) = record["balances"]
    assert (receivable["documents_minor"], receivable["ledger_minor"]) == (24000, 23000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--entity", "acme", "--period", "2026"), "'2026' is no period"),
        (("--entity", "nobody", "--period", "2026-01"), "there are no postings of entity nobody"),
        (("--entity", "acme", "--period", "2026-01", "--ledger", "ifrs"), "has no ledger ifrs; known are main"),
        (("--entity", "acme", "--period", "2026-01", "--as-of", "soon"), "is no RFC 3339 time"),
    ],
)
def test_tie_out_says_in_one_sentence_what_cannot_be_tied_out(
    books: Path, arguments: tuple[str, ...], said: str
) -> None:
    assert said in refusal(tieout("tie-out", books, *arguments))


def test_a_close_is_signed_by_two_people_and_not_silently_incomplete(books: Path, tmp_path: Path) -> None:
    ask = ("close", "sign", books, "--entity", "acme", "--period", "2026-01", "--actor", "ada")
    assert "cannot both prepare and check" in refusal(tieout(*ask, "--reviewer", "ada"))
    assert "say with --comment why" in refusal(tieout(*ask, "--reviewer", "bob"))
    close = tmp_path / "close.jsonl"
    done = tieout(*ask, "--reviewer", "bob", "--comment", "no trial balance yet", "-o", close)
    assert done.returncode == 0, done.stderr
    said = tieout("tie-out", books, close, "--entity", "acme", "--period", "2026-01").stdout.decode()
    assert "signed by ada, checked by bob on" in said
    assert "after the close was signed" not in said


def test_parallel_run_tells_what_the_new_ledger_lacks_and_exits_1(books: Path, tmp_path: Path) -> None:
    out = tmp_path / "differences.jsonl"
    done = tieout("parallel-run", books, "--ledgers", "main,s4", "--as-of", "2026-06-30T00:00:00Z", "-o", out)
    assert done.returncode == 1
    assert "missing_in_new: 2, policy allows 0" in done.stdout.decode()
    assert [json.loads(line)["kind"] for line in out.read_bytes().splitlines()] == ["missing_in_new"] * 2
    assert "name two" in refusal(tieout("parallel-run", books, "--ledgers", "main"))
