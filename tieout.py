"""tieout: the command line. Thin: each command reads its options, calls one function and says what came of it.

- Exit codes: 0 done · 1 done, and something is wrong that the command is asked about (doctor, send, dlq replay) · 2
  it could not be done as asked (a path, a name, an option, an address; one sentence says which) · 70 a worker met a broken
  invariant.
- Results go to standard output, everything for people to standard error. Progress bars appear on a terminal only, on
  what has taken two seconds.
- Nothing of ours is imported before a command needs it, so that `tieout --help` is quick.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    help="Live reconciliation of money on its way from quote to cash.\n\nTry: tieout demo",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
Bootstrap = Annotated[
    str, typer.Option(envvar="TIEOUT_BOOTSTRAP", metavar="HOST:PORT", help="Kafka, or what speaks its protocol.")
]
StoreUrl = Annotated[str, typer.Option(envvar="TIEOUT_STORE", metavar="URL", help="ClickHouse over HTTP.")]
MetricsPort = Annotated[int, typer.Option(envvar="TIEOUT_METRICS_PORT", help="Where Prometheus reads.")]
Output = Annotated[str | None, typer.Option("-o", "--output", metavar="FILE", help="Instead of standard output.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
PolicyFile = Annotated[str | None, typer.Option("--policy", metavar="FILE", help="TOML laid over the default policy.")]
SourceName = Annotated[
    str, typer.Argument(metavar="SOURCE", help="canonical, stripe, xero_tables, receivables_csv ...")
]
SourceNames = Annotated[
    str, typer.Option("--sources", envvar="TIEOUT_SOURCES", metavar="NAME,NAME", help="Which are read here.")
]
RecordPaths = Annotated[list[str], typer.Argument(metavar="PATH...", help="Files or folders of the source's records.")]

# How `tieout dlq` chooses letters
Letters = Annotated[
    list[str] | None, typer.Argument(metavar="[TOPIC/PARTITION/OFFSET...]", help="Letters by where their records lay.")
]
OfClass = Annotated[str, typer.Option("--class", help="transient, mapping, master_data or policy.")]
OfSource = Annotated[
    str, typer.Option("--source", help="As `tieout send` names it; a canonical topic's letters have the topic's.")
]
OfTopic = Annotated[str, typer.Option("--topic", help="The topic that the record lay on.")]
InState = Annotated[
    list[str] | None, typer.Option("--state", help="open, replayed, resolved, parked or discarded; may be repeated.")
]
ForReason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Any part of the reason.")]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="Last failed at or after it; RFC 3339.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Last failed before it.")]
OfCase = Annotated[str, typer.Option("--case", metavar="KEY", help="Of this case, sent to it, or naming it.")]
Limit = Annotated[int, typer.Option(help="At most so many, the last that failed first.", min=1)]
Actor = Annotated[str | None, typer.Option(metavar="NAME", help="Who does it; the login name without it.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="For the audit; needed with --yes.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it, only what would be done is shown.")]

DEFAULT_BOOTSTRAP = "127.0.0.1:19092"
DEFAULT_STORE = "http://127.0.0.1:8124"
ALL_SOURCES = "all"
LETTERS_AT_ONCE = 100
EXIT_WRONG, EXIT_CANNOT = 1, 2
PROGRESS_AFTER_S = 2.0


def main() -> None:
    from streams.supervisor import follow_parent

    follow_parent()
    app(prog_name="tieout")


@app.callback(invoke_without_command=True)
def root(show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if show_version:
        typer.echo(f"tieout {_version()}")
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="What is kept: the store and the logs.")] = Path(".tieout/demo"),
    port: Annotated[int, typer.Option(help="The dashboard's.")] = 8501,
    store_port: Annotated[int, typer.Option(help="The embedded store's.")] = 8124,
    metrics_port: MetricsPort = 9464,
    rate: Annotated[float, typer.Option(help="Events a second, about.", min=0.1)] = 20.0,
    for_s: Annotated[float | None, typer.Option("--for", metavar="SECONDS", help="Stop after so long.")] = None,
) -> None:
    """Watch a made-up company tie out, live, on this machine.

    Starts an in-memory broker, a store, a worker, a generator of events and the dashboard; Ctrl-C stops all of it.

    Example: tieout demo --port 8600
    """
    from sources.registry import SOURCES
    from streams import demo as parts
    from streams.supervisor import ChildDied, TookTooLong, interrupt_on_signals

    interrupt_on_signals()
    plan = parts.Plan(folder.absolute(), port, store_port, metrics_port, rate, for_s, list(SOURCES))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        parts.run(plan, parts.this_program(), lambda line: typer.echo(line))
    except KeyboardInterrupt:
        _say("stopped")
    except parts.PortTaken as taken:
        _cannot(str(taken))
    except (ChildDied, TookTooLong) as error:
        _say(f"tieout: {error}")
        raise typer.Exit(EXIT_WRONG) from None


@app.command()
def schema(
    event_type: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="One event type; all without it.")] = None,
    output: Output = None,
) -> None:
    """Print the JSON Schema of the canonical events.

    Example: tieout schema invoice.issued
    """
    from canonical.events import EVENTS
    from canonical.records import schema as schema_of
    from streams.files import CannotRead
    from streams.files import output as opened

    if event_type is not None and event_type not in EVENTS:
        _cannot(f"unknown event type {event_type!r}; known are {', '.join(EVENTS)}")
    with _mistakes(CannotRead), opened(output) as out:
        out.write(json.dumps(schema_of(event_type), indent=2).encode() + b"\n")


@app.command(name="map")
def map_records(
    source: SourceName,
    paths: RecordPaths,
    output: Output = None,
    dead_letters: Annotated[str | None, typer.Option(metavar="FILE", help="Rejected records, as JSON lines.")] = None,
) -> None:
    """Turn provider records into canonical events, one JSON a line.

    Example: tieout map stripe webhooks/ -o events.jsonl --dead-letters rejected.jsonl
    """
    from sources.records import SourceError, map_paths
    from streams.files import CannotRead, write_mapped
    from streams.files import output as opened

    with _mistakes(SourceError, CannotRead):
        outcomes = map_paths(source, paths)
        with opened(output) as events, opened(dead_letters or os.devnull) as rejected, _progress("records") as advance:
            counts = write_mapped(outcomes, events, rejected, advance)
    _say(f"mapped {counts.records} records to {counts.events} events, {counts.dead_letters} dead letters")


@app.command()
def reconcile(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Canonical events, one JSON a line; - is stdin.")
    ],
    policy: PolicyFile = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="RFC 3339; the latest event's time without it.")
    ] = None,
    output: Output = None,
) -> None:
    """Judge canonical events: one verdict a case, one JSON a line.

    Lines that are no canonical events are counted on standard error as dead letters; the exit code stays 0.

    Example: tieout reconcile events.jsonl --as-of 2026-03-31T00:00:00Z -o verdicts.jsonl
    """
    from streams.batch import reconcile as verdicts_of
    from streams.files import CannotRead, Lines
    from streams.files import output as opened

    with _mistakes(CannotRead):
        lines, rules, now = Lines(files), _policy(policy), _time(as_of, "--as-of")
        refused = _Refused()
        with opened(output) as out, _progress("bytes", lines.total_bytes) as advance:
            count = 0
            verdicts = verdicts_of(
                lines.counted(advance), rules, now, lambda _n, _o, why: refused.add(lines.place, why)
            )
            for count, verdict in enumerate(verdicts, 1):
                out.write(verdict + b"\n")
    refused.tell()
    _say(f"reconciled {lines.count - refused.count} events to {count} verdicts, {refused.count} dead letters")


close_app = typer.Typer(
    help="Sign the close of a period.\n\nExample: tieout close sign --entity acme --period 2024-02",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(close_app, name="close")

EventFiles = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE...]", help="Canonical events, one JSON a line; the store without any."),
]
OfEntity = Annotated[str, typer.Option("--entity", help="The legal entity whose books they are.")]
OfPeriod = Annotated[str, typer.Option("--period", help="Like 2024-02, or 2024-01-29/2024-02-25.")]
OfLedger = Annotated[str | None, typer.Option("--ledger", help="Needed where the entity has several.")]
KnownAt = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="Only what had been recorded by then; RFC 3339.")
]


@app.command(name="tie-out")
def tie_out(
    files: EventFiles = None,
    entity: OfEntity = ...,  # type: ignore[assignment]
    period: OfPeriod = ...,  # type: ignore[assignment]
    ledger: OfLedger = None,
    currency: Annotated[str | None, typer.Option(help="Show only what is in this one.")] = None,
    as_of: KnownAt = None,
    store: StoreUrl = DEFAULT_STORE,
    save: Annotated[bool, typer.Option("--save", help="Keep it in the store, for the dashboard.")] = False,
    policy: PolicyFile = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Tie out a period: documents, ledger and what the ledger reports, and every difference by name.

    Exit code 1 where it is incomplete; what is missing is said. With -o the whole record goes to a file.

    Example: tieout tie-out --entity acme --period 2024-02
    """
    from matching.tieout.report import text_lines
    from streams.files import CannotRead
    from streams.files import output as opened

    done, _ = _tied_out(files, entity, period, ledger, as_of, store, policy, save)
    if output is not None:
        with _mistakes(CannotRead), opened(output) as out:
            out.write(json.dumps(done.record, indent=2).encode() + b"\n")
    if as_json:
        _print_json(done.record)
    else:
        for line in text_lines(done.made, done.close, done.restated, currency):
            typer.echo(line)
    if done.made.state == "incomplete" or done.restated:
        raise typer.Exit(EXIT_WRONG)


@close_app.command(name="sign")
def close_sign(
    files: EventFiles = None,
    entity: OfEntity = ...,  # type: ignore[assignment]
    period: OfPeriod = ...,  # type: ignore[assignment]
    ledger: OfLedger = None,
    as_of: KnownAt = None,
    actor: Actor = None,
    reviewer: Annotated[str | None, typer.Option(metavar="NAME", help="Who checked it; not who prepared it.")] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Needed where the tie-out is incomplete.")] = None,
    store: StoreUrl = DEFAULT_STORE,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    policy: PolicyFile = None,
    output: Output = None,
) -> None:
    """Sign a period's tie-out: what was known, the totals, policy and code are frozen in a close.signed event.

    It is sent to the topic raw.canonical, or written to a file with -o. What comes into the period afterwards is shown
    as a post-close line.

    Example: tieout close sign --entity acme --period 2024-02 --reviewer "Ada Byron"
    """
    from canonical.records import encode
    from matching.tieout.close import Signature, sign
    from streams.files import CannotRead
    from streams.files import output as opened

    signer, now = _who(actor), datetime.now(UTC)
    if reviewer == signer:
        _cannot(f"{signer} cannot both prepare and check a close: name another --reviewer")
    done, read = _tied_out(files, entity, period, ledger, as_of, store, policy, save=False)
    if done.made.state == "incomplete" and not (comment or "").strip():
        _cannot("the tie-out is incomplete: say with --comment why it is signed all the same")
    event = sign(done.made, Signature(signer, reviewer, comment, now, _policy(policy).hash, _version(), tuple(read)))
    if output is not None:
        with _mistakes(CannotRead), opened(output) as out:
            out.write(encode(event) + b"\n")
    else:
        _send_decision(encode(event), bootstrap)
    _say(f"signed {done.made.basis.period.name} of {entity}, ledger {done.made.basis.ledger}: {done.made.state}")


@close_app.command(name="refresh")
def close_refresh(
    months: Annotated[int, typer.Option(help="So many of the last, with the one that runs.", min=1)] = 2,
    every_s: Annotated[
        float | None, typer.Option("--every", metavar="SECONDS", help="Again and again, until SIGTERM.", min=1)
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    policy: PolicyFile = None,
) -> None:
    """Tie out the last months of every entity and ledger, and keep them for the dashboard.

    As `tie-out --save` does for one; what is signed stays signed.

    Example: tieout close refresh --months 3
    """
    from matching.tieout.basis import months_until
    from sinks.client import StoreUnavailable
    from sinks.tieouts import TieOutStore
    from streams.doctor import Unreachable, reach
    from streams.tie_outs import store_row, tie_out_all

    rules = _policy(policy)
    with _mistakes(Unreachable, StoreUnavailable):
        kept = TieOutStore(_migrated(reach(store)))
        while True:
            now = datetime.now(UTC)
            made = tie_out_all(kept, months_until(now.date(), months), rules)
            for done in made:
                kept.write_tie_out(store_row(done, now))
            states = Counter(done.made.state.replace("_", " ") for done in made)
            told = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no postings yet"
            _say(f"tied out {len(made)} periods: {told}")
            if every_s is None:
                return
            time.sleep(every_s)


@app.command(name="parallel-run")
def parallel_run(
    files: EventFiles = None,
    ledgers: Annotated[str, typer.Option(metavar="OLD,NEW", help="The ledger to be replaced, and the new one.")] = ...,  # type: ignore[assignment]
    entity: Annotated[str | None, typer.Option(help="Of this entity alone.")] = None,
    period: Annotated[str | None, typer.Option(help="Dated in this period in one of both; like 2024-02.")] = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="For policy's grace; now, or a file's latest event, without it.")
    ] = None,
    store: StoreUrl = DEFAULT_STORE,
    policy: PolicyFile = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Every difference, one JSON a line.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two ledgers that run in parallel, entry by entry, and say whether the new one may take over.

    Exit code 1 where policy's [cutover] says that it may not.

    Example: tieout parallel-run --ledgers legacy,s4 --period 2024-02 -o differences.jsonl
    """
    import tempfile
    from collections import defaultdict

    import msgspec

    from matching.parallel import EXAMPLES, Scope, as_record, text_lines
    from matching.tieout.basis import PeriodError, period_of
    from streams.files import CannotRead
    from streams.files import output as opened
    from streams.tie_outs import compare

    old, _, new = ledgers.partition(",")
    if not old or not new or old == new:
        _cannot(f"--ledgers {ledgers!r}: name two, as in legacy,s4")
    with _mistakes(PeriodError):
        scope = Scope(old, new, entity, period_of(period) if period else None)
    examples: dict[Any, list[Any]] = defaultdict(list)
    with (
        _mistakes(CannotRead),
        tempfile.TemporaryDirectory(prefix="tieout-") as folder,
        _facts(files, entity or "", store, folder) as (facts, _),
        opened(output or os.devnull) as out,
    ):

        def write(found: Any) -> None:
            out.write(msgspec.json.encode(found._asdict()) + b"\n")
            if len(examples[found.kind]) < EXAMPLES:
                examples[found.kind].append(found)

        now = _time(as_of, "--as-of") or (facts.latest if files else datetime.now(UTC))
        outcome = compare(facts, scope, _policy(policy), now, write)
    if as_json:
        _print_json(as_record(scope, outcome))
    else:
        for line in text_lines(scope, outcome, examples):
            typer.echo(line)
    if not outcome.is_ready:
        raise typer.Exit(EXIT_WRONG)


def _tied_out(files: list[str] | None, entity: str, period: str, ledger: str | None, as_of: str | None, store: str, policy: str | None, save: bool) -> Any:  # fmt: skip
    """(the tie-out, how far the log had been read)."""
    import tempfile

    from matching.tieout.basis import Basis, PeriodError, period_of
    from streams.tie_outs import CannotTieOut, store_row
    from streams.tie_outs import tie_out as tied_out

    rules = _policy(policy)
    with _mistakes(PeriodError):
        basis = Basis(entity, ledger or "", period_of(period), _time(as_of, "--as-of"))
    with (
        _mistakes(CannotTieOut),
        tempfile.TemporaryDirectory(prefix="tieout-") as folder,
        _facts(files, entity, store, folder, is_kept=save) as (facts, kept),
    ):
        done = tied_out(facts, basis, rules)
        if save:
            kept.write_tie_out(store_row(done, datetime.now(UTC)))
    return done, facts.read


@contextmanager
def _facts(files: list[str] | None, entity: str, store: str, folder: str, *, is_kept: bool = False) -> Iterator[tuple[Any, Any]]:  # fmt: skip
    """(facts, the store or None): of files, or of the store where none is named."""
    from sinks.tieouts import TieOutStore
    from streams.doctor import Unreachable, reach
    from streams.files import CannotRead, Lines
    from streams.tie_outs import from_lines, from_store

    with _mistakes(CannotRead, Unreachable):
        kept = TieOutStore(_migrated(reach(store))) if is_kept or not files else None
        if not files:
            yield from_store(kept, entity), kept
            return
        lines, refused = Lines(files), _Refused()
        facts = from_lines(lines, entity, Path(folder), lambda letter: refused.add(lines.place, letter))
        refused.tell()
        yield facts, kept


def _send_decision(record: bytes, bootstrap: str) -> None:
    """To the canonical source's raw topic: what people decide comes in as everything else does."""
    from sources.registry import SOURCES
    from streams import sender
    from streams.doctor import Unreachable, reach_broker
    from streams.topics import raw_topic

    topic = raw_topic("canonical")
    with _mistakes(Unreachable, sender.NoTopic):
        reach_broker(bootstrap)
        message = sender.Message(SOURCES["canonical"].key(record), record)
        sent = sender.send(sender.producer(bootstrap, topic), topic, [message])
    if sent.failures:
        _cannot(f"the broker did not take the signature: {', '.join(sent.failures)}")


@app.command()
def send(
    source: SourceName,
    paths: RecordPaths,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    rate: Annotated[
        float | None, typer.Option(help="Records a second; as fast as it goes without it.", min=0.001)
    ] = None,
) -> None:
    """Send provider records to the topic raw.SOURCE.

    As a webhook gateway would; exit code 1 where the broker did not take some.

    Example: tieout send stripe webhooks/ --rate 100
    """
    from sources.records import SourceError
    from sources.registry import SOURCES
    from streams import sender
    from streams.doctor import Unreachable, reach_broker
    from streams.topics import raw_topic

    if source not in SOURCES:
        _cannot(f"unknown source {source!r}; known are {', '.join(SOURCES)}")
    read, key, topic = SOURCES[source].read, SOURCES[source].key, raw_topic(source)
    with _mistakes(Unreachable, SourceError, sender.NoTopic), _progress("records") as advance:
        reach_broker(bootstrap)
        made = sender.producer(bootstrap, topic)
        messages = (sender.Message(key(record.body), record.body) for record in read(paths))
        sent = sender.send(made, topic, messages, rate_per_s=rate, on_sent=advance)
    _say(f"sent {sent.delivered} records to {topic}, {sent.failures.total()} failed")
    for reason, count in sent.failures.most_common():
        _say(f"  {count} failed: {reason}")
    if sent.failures:
        raise typer.Exit(EXIT_WRONG)


@app.command()
def heartbeat(source: SourceName, bootstrap: Bootstrap = DEFAULT_BOOTSTRAP) -> None:
    """Mark that SOURCE has sent everything up to now, on every partition of raw.SOURCE.

    For a source whose feed has a heartbeat_s in policy; run it after each delivery, and where there is nothing to send.

    Example: tieout heartbeat xero_tables
    """
    from sources.registry import SOURCES
    from streams import sender
    from streams.doctor import Unreachable, reach_broker
    from streams.topics import raw_topic

    if source not in SOURCES:
        _cannot(f"unknown source {source!r}; known are {', '.join(SOURCES)}")
    topic = raw_topic(source)
    with _mistakes(Unreachable, sender.NoTopic):
        reach_broker(bootstrap)
        sent = sender.mark(sender.producer(bootstrap, topic), topic)
    _say(f"marked {sent.delivered} partitions of {topic}, {sent.failures.total()} failed")
    if sent.failures:
        raise typer.Exit(EXIT_WRONG)


@app.command()
def worker(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    store: StoreUrl = DEFAULT_STORE,
    metrics_host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines read them.")] = "127.0.0.1",
    metrics_port: MetricsPort = 9464,
    group: Annotated[
        str, typer.Option(help="The consumer group; workers of one group share the partitions.")
    ] = "tieout",
    policy: PolicyFile = None,
    cached_cases: Annotated[
        int,
        typer.Option(min=1, help="Kept in memory as they are judged, about 6 kB each; open ones beyond are packed."),
    ] = 100_000,
    packed_cases: Annotated[
        int, typer.Option(min=0, help="Kept in memory packed, about 0.5 kB each; others are read again from the store.")
    ] = 2_000_000,
    sources: SourceNames = ALL_SOURCES,
) -> None:
    """Run a stream worker, until SIGTERM.

    It maps raw records to canonical events, joins them by case and writes verdicts to the store.

    Example: tieout worker --bootstrap kafka:9092 --store http://clickhouse:8123
    """
    from streams.app import run
    from streams.doctor import Unreachable, reach, reach_broker
    from streams.metrics import PortInUse
    from streams.settings import Settings

    _policy(policy)
    settings = Settings(
        bootstrap=bootstrap, store_url=store, metrics_host=metrics_host, metrics_port=metrics_port, group=group,
        policy_path=policy, sources=_sources(sources), cached_cases=cached_cases,
        packed_cases=packed_cases,
    )  # fmt: skip
    with _mistakes(Unreachable, PortInUse):
        reach_broker(bootstrap)
        reach(store)
        raise typer.Exit(run(settings))


@app.command()
def store(
    path: Annotated[Path, typer.Option(help="The folder that holds the database; one process may own it.")] = Path(
        ".tieout/store"
    ),
    host: Annotated[str, typer.Option(help="It knows no users: whoever reaches it may do everything.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="ClickHouse's HTTP interface.")] = 8124,
) -> None:
    """Run the embedded store, until SIGTERM.

    It serves ClickHouse's HTTP interface over one folder.

    Example: tieout store --path books --port 8124
    """
    from sinks.embedded import CannotServe, serve

    with _mistakes(CannotServe):
        path.parent.mkdir(parents=True, exist_ok=True)
        serve(path, host, port, on_ready=lambda url: print(url, flush=True))


@app.command()
def migrate(
    store: StoreUrl = DEFAULT_STORE,
    to: Annotated[str | None, typer.Option(metavar="N", help="Up or down to this one; 0 removes all tables.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring the store's tables up to date, or to one migration.

    Example: tieout migrate --store http://clickhouse:8123
    """
    from sinks.migrate import MigrationError
    from sinks.migrate import migrate as bring
    from streams.doctor import Unreachable, reach

    with _mistakes(Unreachable, MigrationError):
        done = bring(reach(store), to)
    if as_json:
        _print_json(done)
    else:
        _say("\n".join(done) or "nothing to do")


Days = Annotated[int | None, typer.Option(min=0, metavar="DAYS", help="0 is for ever.", show_default="as it is")]


@app.command()
def retention(
    store: StoreUrl = DEFAULT_STORE,
    facts: Days = None,
    history: Days = None,
    dead_letters: Days = None,
    replays: Days = None,
    as_json: AsJson = False,
) -> None:
    """Show or set how many days the store keeps what it may forget.

    Example: tieout retention --history 400
    """
    from sinks.retention import retain
    from sinks.retention import retention as kept
    from streams.doctor import Unreachable, reach

    wanted = {"facts": facts, "history": history, "dead_letters": dead_letters, "replays": replays}
    with _mistakes(Unreachable):
        client = _migrated(reach(store))
        retain(client, {name: days for name, days in wanted.items() if days is not None})
        found = kept(client)
    if as_json:
        _print_json(found)
    else:
        _say("\n".join(f"{name:13}{f'{days} days' if days else 'for ever'}" for name, days in found.items()))


policy_app = typer.Typer(
    help="Policy: what is expected, by when, how exactly, and who owns a break.\n\nExample: tieout policy check policy.toml",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(policy_app, name="policy")


@policy_app.command(name="check")
def policy_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML, laid over the default policy.")],
    as_json: AsJson = False,
) -> None:
    """Say every mistake of a policy file, each with its key and line; exit code 1 if there is one.

    Example: tieout policy check policy.toml
    """
    from matching.policy import PolicyError, load

    text = _policy_text(str(file)) or ""
    try:
        found, problems = load(text).hash, ()
    except PolicyError as error:
        found, problems = None, error.problems
    if as_json:
        _print_json({"policy": found, "problems": list(problems)})
    else:
        typer.echo("\n".join(f"{file}: {problem}" for problem in problems) or f"{file}: in order, policy {found}")
    if problems:
        raise typer.Exit(EXIT_WRONG)


@policy_app.command(name="explain")
def policy_explain(
    case: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Of the case whose verdict is explained.")] = None,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EVENTS...]", help="Canonical events; without them the store's verdict."),
    ] = None,
    hop: Annotated[str | None, typer.Option(metavar="NAME", help="Instead of a case: what holds for a hop.")] = None,
    entity: Annotated[str, typer.Option(metavar="NAME", help="For this entity.")] = "",
    ledger: Annotated[str | None, typer.Option(metavar="NAME", help="For this ledger.")] = None,
    policy: PolicyFile = None,
    as_of: Annotated[str | None, typer.Option(metavar="TIME", help="Of events: judged as of then.")] = None,
    store: StoreUrl = DEFAULT_STORE,
) -> None:
    """Say in words which rule a verdict came from: due dates, tolerances, owners, severities, each with table and line.

    Example: tieout policy explain invoice:acme:billing:INV-1 events.jsonl --policy policy.toml

    Example: tieout policy explain --hop invoice_to_posting --entity acme-de
    """
    from matching.explain import Origins, hop_rules
    from matching.policy import Hops

    rules, text = _policy(policy), _policy_text(policy)
    if (case is None) == (hop is None):
        _cannot("name either a case or --hop")
    if case is not None:
        typer.echo("\n".join(_explained(case, files, rules, text, as_of, store)))
        return
    if hop not in Hops.model_fields:
        _cannot(f"unknown hop {hop!r}; known are {', '.join(Hops.model_fields)}")
    for version in (None, *range(len(rules.version))):
        if version is not None:
            typer.echo(f"from {rules.version[version].valid_from:%Y-%m-%d %H:%M} UTC")
        for rule in hop_rules(hop, entity, ledger, Origins(text, version)):
            typer.echo(f"  {rule.words}" if version is not None else rule.words)


@policy_app.command(name="tolerated")
def policy_tolerated(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EVENTS...]", help="Canonical events; without them the store's facts."),
    ] = None,
    policy: PolicyFile = None,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Sum what tolerances let pass, by entity, currency and day; exit code 1 where a sum is over policy's cap.

    Example: tieout policy tolerated events.jsonl --policy policy.toml
    """
    from sinks.client import StoreUnavailable
    from sinks.replays import ReplayStore
    from streams import tolerances
    from streams.doctor import Unreachable, reach
    from streams.files import CannotRead, Lines

    rules, refused = _policy(policy), _Refused()
    with _mistakes(CannotRead, Unreachable, StoreUnavailable):
        if files:
            lines = Lines(files)
            found = tolerances.from_lines(lines, rules, lambda _line, _record, letter: refused.add(lines.place, letter))
        else:
            found = tolerances.from_store(ReplayStore(_migrated(reach(store))), rules)
    refused.tell()
    if as_json:
        _print_json([tolerances.as_dict(line) for line in found])
    else:
        typer.echo("\n".join(map(tolerances.words, found)), nl=bool(found))
    over = sum(line.is_break for line in found)
    _say(f"{sum(line.differences for line in found)} differences let pass, {over} sums over their cap")
    if over:
        raise typer.Exit(EXIT_WRONG)


@policy_app.command(name="schema")
def policy_schema(output: Output = None) -> None:
    """Print the JSON Schema of policy files, for editors.

    Example: tieout policy schema -o policy.schema.json
    """
    from matching.policy_schema import schema as schema_of
    from streams.files import CannotRead
    from streams.files import output as opened

    with _mistakes(CannotRead), opened(output) as out:
        out.write(json.dumps(schema_of(), indent=2).encode() + b"\n")


def _explained(case: str, files: list[str] | None, rules: Any, text: str | None, as_of: str | None, store: str) -> list[str]:  # fmt: skip
    from matching.explain import Origins, verdict_in_words, version_of
    from sinks.client import StoreUnavailable
    from sinks.replays import ReplayStore
    from streams.doctor import Unreachable, reach
    from streams.explained import CannotExplain, from_lines, from_store
    from streams.files import CannotRead, Lines

    with _mistakes(CannotExplain, CannotRead, Unreachable, StoreUnavailable):
        if files:
            verdict, facts = from_lines(Lines(files), case, rules, _time(as_of, "--as-of"))
        else:
            verdict, facts = from_store(ReplayStore(_migrated(reach(store))), case, rules)
    version = version_of(rules, facts, case)
    origins = Origins(text, version)
    told = [f"{case} is {verdict.outcome}, by policy {verdict.policy}"]
    if version is not None:
        told.append(
            f"as it holds from {rules.version[version].valid_from:%Y-%m-%d %H:%M} UTC (line {origins.version_line(version)})"
        )
    held = rules if version is None else rules.version[version].policy
    return told + list(verdict_in_words(verdict, held, origins))


@app.command()
def replay(
    store: StoreUrl = DEFAULT_STORE,
    from_log: Annotated[bool, typer.Option("--from-log", help="From Kafka's log, not from the facts.")] = False,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME|OFFSET", help="Appended (facts: stored) since; the beginning without it."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME|OFFSET", help="Up to, exclusive; the end without it.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="TIME", help="What would the verdicts be, as of this time.")
    ] = None,
    policy: PolicyFile = None,
    into: Annotated[
        str | None, typer.Option(metavar="NAME", help="Keep the verdicts in shadow tables, under this name.")
    ] = None,
    case: Annotated[str | None, typer.Option(metavar="KEY", help="One case.")] = None,
    drop: Annotated[str | None, typer.Option(metavar="NAME", help="Remove a run from the shadow tables.")] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Every difference, one JSON a line.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild verdicts beside the live ones and say how they differ.

    Judged exactly as the live ones were they must be the same bytes, otherwise the exit code is 1. With another time or
    policy it says what the verdicts would be.

    Example: tieout replay --policy stricter.toml --into stricter
    """
    from sinks.client import StoreUnavailable
    from sinks.replays import ReplayStore
    from streams import replay_run
    from streams.doctor import Unreachable, reach, reach_broker
    from streams.files import CannotRead
    from streams.files import output as opened
    from streams.log import CannotRead as CannotReadLog
    from streams.replay_report import as_dict

    def told(found: Any) -> None:
        if found.state == "different":
            differences.write(json.dumps(as_dict(found)).encode() + b"\n")

    mistakes = (replay_run.CannotReplay, CannotReadLog, Unreachable, StoreUnavailable, CannotRead)
    with _mistakes(*mistakes), opened(output or os.devnull) as differences, _progress("cases") as advance:
        books = ReplayStore(_migrated(reach(store)))
        if drop is not None:
            replay_run.drop(books, drop)
            _say(f"run {drop} is removed")
            return
        if from_log:
            reach_broker(bootstrap)
        asked = replay_run.Asked(
            _policy(policy), policy is not None, _time(as_of, "--as-of"), replay_run.bound(since, "--from"),
            replay_run.bound(until, "--to"), bootstrap if from_log else None, case, into,
        )  # fmt: skip
        report = replay_run.run(books, asked, datetime.now(UTC), told, advance)
    if as_json:
        _print_json(report.as_dict())
    else:
        typer.echo("\n".join(report.lines()), nl=any(report.lines()))
    _say(report.sentence())
    if report.states["different"] and not report.basis.is_what_if:
        raise typer.Exit(EXIT_WRONG)


@app.command()
def backfill(
    source: SourceName,
    paths: RecordPaths,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    store: StoreUrl = DEFAULT_STORE,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of this load; after its source and records without it.")
    ] = None,
) -> None:
    """Load files of years in bulk, and have their cases judged.

    The same command goes on where it was cut off.

    Example: tieout backfill stripe exports/2019 exports/2020
    """
    from sinks.client import StoreUnavailable
    from sinks.replays import ReplayStore
    from sources.records import SourceError
    from sources.registry import SOURCES
    from streams import backfill as bulk
    from streams.doctor import Unreachable, reach, reach_broker
    from streams.publisher import acknowledged
    from streams.settings import Settings

    if source not in SOURCES:
        _cannot(f"unknown source {source!r}; known are {', '.join(SOURCES)}")
    with _mistakes(SourceError, Unreachable, StoreUnavailable, bulk.CannotLoad):
        reach_broker(bootstrap)
        books = ReplayStore(_migrated(reach(store)))
        partitions = bulk.home_partitions(books, bootstrap)
        with _progress("records looked at") as advance:
            given = bulk.examine(SOURCES[source], paths, advance)
        begun = bulk.begin(books, given, run, datetime.now(UTC), _say)
        load = bulk.Load(books, begun, given.source, partitions, Settings().future_skew_s)
        if load.is_done:
            _say(f"run {begun.run} was complete already: nothing to do")
            return
        with _progress("records", given.count) as advance:
            load.write(paths, advance)
        with _progress("cases told to their workers") as advance, acknowledged(bootstrap, "tieout-backfill") as publish:
            load.touch(publish, advance)
    done = load.loaded()
    _say(f"backfilled {done.records} records to {done.events} events of {done.cases} cases, {done.letters} dead letters (run {begun.run})")  # fmt: skip


@app.command()
def topics(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    partitions: Annotated[int, typer.Option(help="Of each new topic; joined topics need the same number.", min=1)] = 4,
    replication: Annotated[int, typer.Option(help="Copies of each; 3 on a cluster.", min=1)] = 1,
    sources: SourceNames = ALL_SOURCES,
    as_json: AsJson = False,
) -> None:
    """Create the topics that are missing, and check the others.

    Example: tieout topics --bootstrap kafka:9092 --partitions 12 --replication 3
    """
    from confluent_kafka import KafkaException

    from streams.doctor import Unreachable, reach_broker
    from streams.topics import TopicsDiffer, create, describe

    named = _sources(sources)
    with _mistakes(Unreachable, TopicsDiffer):
        reach_broker(bootstrap)
        try:
            created = create(bootstrap, partitions, replication, named)
        except KafkaException as error:
            _cannot(f"the broker at {bootstrap} refused: {error.args[0].str()}")
    if as_json:
        _print_json({"partitions": created.partitions, "created": created.made})
        return
    for topic, purpose in describe(named):
        state = "created" if topic in created.made else "exists"
        typer.echo(f"{topic:<22} {created.partitions[topic]:>4} partitions  {state:<8} {purpose}")


@app.command()
def dashboard(
    store: StoreUrl = DEFAULT_STORE,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where it is served.")] = 8501,
) -> None:
    """Serve the dashboard, until SIGTERM.

    Example: tieout dashboard --store http://clickhouse:8123 --port 8501
    """
    from dashboard.launch import run
    from streams.supervisor import port_holder

    reason = port_holder(host, port)
    if reason:
        _cannot(f"port {port} cannot be used ({reason}): stop what listens there, or choose another with --port")
    launch = run(host, port, store)
    _say(f"dashboard at {launch.url}")
    os.execve(launch.command[0], launch.command, launch.env)


@app.command()
def verify(
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="RFC 3339; only what was appended from then on.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only what was appended before.")] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", help="How long a worker may take to read up to now.", min=0)
    ] = 0.0,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    store: StoreUrl = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Prove that every record of the log is in the store and in a verdict.

    Reads the broker's log and the store's rows, and trusts no counter. Exit code 1 where it is not proven: what is
    missing is named with its topic, partition and offset.

    Example: tieout verify --wait 30
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from confluent_kafka import KafkaException

    from sinks.client import StoreUnavailable, connect
    from sinks.evidence import ANSWER_TIMEOUT_S, Evidence
    from sinks.migrate import MigrationError, pending
    from sources.registry import SOURCES
    from streams import proof as proofs
    from streams.doctor import Unreachable, reach, reach_broker
    from streams.log import CannotRead, Log
    from streams.verify import Asked
    from streams.verify import verify as prove

    asked = Asked(_time(begin, "--from"), _time(end, "--to"), wait_s)
    if asked.begin and asked.end and asked.begin >= asked.end:
        _cannot("--from must lie before --to")
    errors = (Unreachable, CannotRead, KafkaException, MigrationError, StoreUnavailable, ClickHouseError)
    with _mistakes(*errors), _progress("records") as advance:
        reach_broker(bootstrap)
        if lacking := pending(reach(store)):
            _cannot(f"the store lacks {', '.join(lacking)}: run tieout migrate --store {store}")
        evidence = Evidence(connect(store, answer_timeout_s=ANSWER_TIMEOUT_S))
        with closing(Log(bootstrap)) as log:
            proof = prove(log, evidence, list(SOURCES), asked, advance)
    if as_json:
        _print_json(proofs.as_json(proof))
    else:
        typer.echo("\n".join(proofs.lines(proof)))
    if not proof.is_complete:
        raise typer.Exit(EXIT_WRONG)


@app.command()
def doctor(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP, store: StoreUrl = DEFAULT_STORE, sources: SourceNames = ALL_SOURCES,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Check broker, topics, store, clock and disk.

    Exit code 1 where something is wrong.

    Example: tieout doctor --json
    """
    from streams.doctor import examine

    findings = list(examine(bootstrap, store, Path.cwd(), _sources(sources)))
    if as_json:
        _print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{finding.state:<6} {finding.check:<11} {finding.found}")
            if finding.remedy:
                typer.echo(f"{'':<18} → {finding.remedy}")
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(EXIT_WRONG)


dlq = typer.Typer(
    help="Find dead letters, send them again or put them aside.\n\nExample: tieout dlq list --state open",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(dlq, name="dlq")


@dlq.command("list")
def dlq_list(
    ids: Letters = None, failure: OfClass = "", source: OfSource = "", topic: OfTopic = "", state: InState = None,
    reason: ForReason = "", since: Since = None, until: Until = None, case: OfCase = "", limit: Limit = LETTERS_AT_ONCE,
    store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List dead letters with their state.

    Example: tieout dlq list --class mapping --state open --since 2026-03-01T00:00:00Z
    """
    from streams.letter_texts import letter_json, letter_line
    from streams.letters import find

    chosen = _chosen(ids, failure, source, topic, state, reason, since, until, case)
    with _letters_store(store) as client:
        found = find(client, chosen, limit)
    if as_json:
        _print_json({"total": found.total, "letters": [letter_json(letter) for letter in found.letters]})
        return
    for letter in found.letters:
        typer.echo(letter_line(letter))
    _say(f"{len(found.letters)} of {found.total} dead letters")


@dlq.command("show")
def dlq_show(
    letter_id: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION/OFFSET")],
    store: StoreUrl = DEFAULT_STORE, body: Annotated[bool, typer.Option("--body", help="Only the original bytes, as they came.")] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show one dead letter and all that was done about it.

    Example: tieout dlq show raw.stripe/3/4711 --body > letter.json
    """
    from streams.letter_texts import whole_json, whole_lines
    from streams.letters import Chosen, audit, contents, find

    (place,) = _places([letter_id])
    with _letters_store(store) as client:
        letters = find(client, Chosen(places=(place,)), 1).letters
        if not letters:
            _cannot(f"there is no dead letter {place}; `tieout dlq list` shows those there are")
        content, acts = contents(client, [place])[place], audit(client, place)
    if body:
        typer.get_binary_stream("stdout").write(content.original)
    elif as_json:
        _print_json(whole_json(letters[0], content, acts))
    else:
        typer.echo("\n".join(whole_lines(letters[0], content, acts)))


@dlq.command("replay")
def dlq_replay(
    ids: Letters = None, failure: OfClass = "", source: OfSource = "", topic: OfTopic = "", state: InState = None,
    reason: ForReason = "", since: Since = None, until: Until = None, case: OfCase = "", limit: Limit = LETTERS_AT_ONCE,
    body: Annotated[Path | None, typer.Option(metavar="FILE", help="One letter's mended bytes, sent in place of the original's.")] = None,
    actor: Actor = None, why: Why = "", yes: Yes = False, bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Send dead letters again, as they came.

    To raw.SOURCE, with the bytes and headers they had; a dry run without --yes. It takes open letters, others only where --state names their state. After three replays that were refused a letter is parked.
    Exit code 1 where the broker did not take some.

    Example: tieout dlq replay --class mapping --reason "tax code" --why "VAT-19 is mapped now" --yes
    """
    from streams.doctor import Unreachable, reach_broker
    from streams.letters import send_again, take
    from streams.sender import NoTopic

    chosen, acted = _chosen(ids, failure, source, topic, state, reason, since, until, case), None
    with _letters_store(store) as client, _mistakes(Unreachable, NoTopic):
        found = take(client, "replay", chosen, limit)
        mended = _mended(body, len(found.taken))
        if yes and found.taken:
            who, reason_given = _who(actor), _needed(why)
            reach_broker(bootstrap)
            acted = send_again(client, bootstrap, found.taken, who, reason_given, mended)
    _tell_act("replay", found, acted, as_json, mended)
    if acted and acted.failed:
        raise typer.Exit(EXIT_WRONG)


@dlq.command("park")
def dlq_park(
    ids: Letters = None, failure: OfClass = "", source: OfSource = "", topic: OfTopic = "", state: InState = None,
    reason: ForReason = "", since: Since = None, until: Until = None, case: OfCase = "", limit: Limit = LETTERS_AT_ONCE,
    actor: Actor = None, why: Why = "", yes: Yes = False, store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Put dead letters aside that wait for something.

    A dry run without --yes.

    Example: tieout dlq park raw.stripe/3/4711 --why "waits for the new entity" --yes
    """
    _put_aside("park", _chosen(ids, failure, source, topic, state, reason, since, until, case), limit, actor, why, yes, store, as_json)  # fmt: skip


@dlq.command("discard")
def dlq_discard(
    ids: Letters = None, failure: OfClass = "", source: OfSource = "", topic: OfTopic = "", state: InState = None,
    reason: ForReason = "", since: Since = None, until: Until = None, case: OfCase = "", limit: Limit = LETTERS_AT_ONCE,
    actor: Actor = None, why: Why = "", yes: Yes = False, store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say of dead letters that nothing is to be done.

    Their bytes are kept. A dry run without --yes.

    Example: tieout dlq discard --reason "not JSON" --until 2026-03-01T00:00:00Z --why "a load test" --yes
    """
    _put_aside("discard", _chosen(ids, failure, source, topic, state, reason, since, until, case), limit, actor, why, yes, store, as_json)  # fmt: skip


@dlq.command("adopt")
def dlq_adopt(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="Where Kafka Streams, Connect or Spring wrote dead letters.")],
    source: Annotated[str, typer.Option(help="Whose adapter can map them: replays go to raw.SOURCE.")] = "",
    actor: Actor = None, why: Annotated[str, typer.Option(metavar="TEXT", help="For the audit.")] = "",
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP, store: StoreUrl = DEFAULT_STORE, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take in dead letters of Kafka Streams, Connect, Spring.

    Each is kept under the place where its original record lay. Reading goes on where the last `adopt` of that topic stopped.

    Example: tieout dlq adopt orders.DLT --source canonical
    """
    from confluent_kafka import KafkaException

    from sources.registry import SOURCES
    from streams.doctor import Unreachable, reach_broker
    from streams.foreign_letters import CannotAdopt, adopt

    if source and source not in SOURCES:
        _cannot(f"unknown source {source!r}; known are {', '.join(SOURCES)}")
    with _letters_store(store) as client, _mistakes(Unreachable, CannotAdopt), _progress("records") as advance:
        reach_broker(bootstrap)
        try:
            found = adopt(client, bootstrap, topic, source, _who(actor), why, advance)
        except KafkaException as error:
            _cannot(f"the broker at {bootstrap} refused: {error.args[0].str()}")
    if as_json:
        _print_json(found._asdict())
        return
    _say(f"adopted {found.letters} dead letters from {topic}, {found.failed_again} later failures of known ones")
    if found.without_headers:
        _say(
            f"  {found.without_headers} of them say nothing of where they come from: they are kept under their place on {topic}"
        )


@app.command(hidden=True)
def broker(address_file: Path) -> None:
    """Run the embedded broker: in memory, for the demo. Its address is written to ADDRESS_FILE.

    Example: tieout broker .tieout/broker.address
    """
    from sources.registry import SOURCES
    from streams.embedded_broker import serve

    serve(address_file, sources=list(SOURCES))


@app.command(hidden=True)
def generate(
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    rate: Annotated[float, typer.Option(help="Events a second, about.", min=0.1)] = 20.0,
    seed: Annotated[int, typer.Option(help="Which company.")] = 1,
) -> None:
    """Send the life of a made-up company: the last weeks at once, then new events as they happen, until SIGTERM.

    Example: tieout generate --rate 50
    """

    from company.live import live
    from streams import sender
    from streams.doctor import Unreachable, reach_broker
    from streams.supervisor import interrupt_on_signals

    interrupt_on_signals()
    with _mistakes(Unreachable, sender.NoTopic), suppress(KeyboardInterrupt):
        reach_broker(bootstrap)
        sender.play(bootstrap, live(seed, datetime.now(UTC), rate))


def _chosen(ids: list[str] | None, failure: str, source: str, topic: str, states: list[str] | None, reason: str, since: str | None, until: str | None, case: str) -> Any:  # fmt: skip
    from typing import get_args

    from canonical.events import Failure
    from streams.letters import STATES, Chosen

    if failure and failure not in get_args(Failure):
        _cannot(f"--class {failure!r} is none of {', '.join(get_args(Failure))}")
    for state in states or ():
        if state not in STATES:
            _cannot(f"--state {state!r} is none of {', '.join(STATES)}")
    begin, end = _time(since, "--since"), _time(until, "--until")
    return Chosen(tuple(_places(ids or [])), failure, source, topic, tuple(states or ()), reason, case, begin, end)


def _places(ids: list[str]) -> list[Any]:
    from streams.dead_letters import place_of

    found = [(text, place_of(text)) for text in ids]
    for text, place in found:
        if place is None:
            _cannot(f"{text!r} names no dead letter; write topic/partition/offset, like raw.stripe/3/4711")
    return [place for _, place in found]


@contextmanager
def _letters_store(url: str) -> Iterator[Any]:
    """A client of a store whose tables are there."""
    from clickhouse_connect.driver.exceptions import DatabaseError

    from streams.doctor import Unreachable, reach
    from streams.letters import NoSuchLetter

    with _mistakes(Unreachable, NoSuchLetter):
        client = reach(url)
        try:
            yield client
        except DatabaseError as error:
            if error.code not in (60, 81):  # UNKNOWN_TABLE, UNKNOWN_DATABASE
                raise
            _cannot(f"the store at {url} lacks tables; run: tieout migrate --store {url}")


def _put_aside(act: str, chosen: Any, limit: int, actor: str | None, why: str, yes: bool, store: str, as_json: bool) -> None:  # fmt: skip
    from streams.letters import put_aside, take

    with _letters_store(store) as client:
        found = take(client, act, chosen, limit)
        acted = put_aside(client, act, found.taken, _who(actor), _needed(why)) if yes and found.taken else None
    _tell_act(act, found, acted, as_json)


def _mended(body: Path | None, letters: int) -> bytes | None:
    if body is None:
        return None
    if letters != 1:
        _cannot(f"--body mends one letter, {letters} are chosen: name it as topic/partition/offset")
    try:
        return body.read_bytes()
    except OSError as error:
        _cannot(f"cannot read {body}: {error.strerror}")


def _who(actor: str | None) -> str:
    from getpass import getuser

    try:
        return actor or getuser()
    except (OSError, KeyError):
        _cannot("this login has no name: say who you are with --actor")


def _needed(why: str) -> str:
    return why.strip() or _cannot("--yes needs --why: the audit keeps who did it and the reason")


def _tell_act(act: str, found: Any, acted: Any, as_json: bool, mended: bytes | None = None) -> None:
    from streams.letter_texts import act_json, act_lines, act_notes

    if as_json:
        _print_json(act_json(act, found, acted))
        return
    for line in act_lines(act, found, mended):
        typer.echo(line)
    for line in act_notes(act, found, acted):
        _say(line)


class _Refused:
    """Lines that were no canonical events: how many, and the first few with their place."""

    SHOWN = 5

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[str] = []

    def add(self, place: object, letter: Any) -> None:
        self.count += 1
        if self.count <= self.SHOWN:
            self._shown.append(f"{place}: {letter.reason}")

    def tell(self) -> None:
        for line in self._shown:
            _say(line)
        if self.count > self.SHOWN:
            _say(f"... and {self.count - self.SHOWN} more")


def _policy(path: str | None) -> Any:
    from matching.policy import PolicyError, load

    try:
        return load(_policy_text(path))
    except PolicyError as error:
        _cannot(f"{path}: {error}")


def _policy_text(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        _cannot(f"cannot read policy {path}: {getattr(error, 'strerror', None) or 'it is not text'}")


def _time(text: str | None, option: str) -> Any:
    from canonical.events import parse_time

    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError:
        _cannot(f"{option} {text!r} is no RFC 3339 time; write it like 2026-03-31T23:59:59Z")


def _migrated(client: Any) -> Any:
    """The client of a store that has all tables."""
    from sinks.migrate import MigrationError, pending

    with _mistakes(MigrationError):
        lacking = pending(client)
    if lacking:
        _cannot(f"the store lacks {', '.join(lacking)}: run tieout migrate")
    return client


@contextmanager
def _mistakes(*kinds: type[Exception]) -> Iterator[None]:
    """What the caller can mend becomes one sentence and exit code 2."""
    try:
        yield
    except Exception as error:
        if isinstance(error, BrokenPipeError) or not isinstance(error, (OSError, *kinds)):
            raise
        _cannot(str(error))


def _sources(named: str) -> tuple[str, ...]:
    """As the registry orders them; canonical always, for what people decide comes in by it."""
    from sources.registry import SOURCES

    asked = {"canonical", *named.split(",")} if named != ALL_SOURCES else SOURCES.keys()
    if unknown := sorted(asked - SOURCES.keys()):
        _cannot(f"unknown source {unknown[0]!r} in --sources; known are {', '.join(SOURCES)}")
    return tuple(source for source in SOURCES if source in asked)


def _cannot(sentence: str) -> NoReturn:
    _say(f"tieout: {sentence}")
    raise typer.Exit(EXIT_CANNOT) from None


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tieout")
    except PackageNotFoundError:
        return "not installed"


@contextmanager
def _progress(unit: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's standard error, once the work has taken PROGRESS_AFTER_S."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    bar = _Bar(unit, total)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    EVERY_S = 0.1

    def __init__(self, unit: str, total: int | None) -> None:
        self._unit, self._total = unit, total
        self._done, self._next_s = 0, time.monotonic() + PROGRESS_AFTER_S
        self._shown: Any = None

    def advance(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + self.EVERY_S
            self._show()

    def close(self) -> None:
        if self._shown is not None:
            self._shown.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        if self._shown is None:
            console = Console(stderr=True)
            counted = TextColumn("{task.completed:,} " + self._unit)
            self._shown = Progress(BarColumn(), counted, TimeElapsedColumn(), console=console, transient=True)
            self._shown.add_task("", total=self._total)
            self._shown.start()
        self._shown.update(0, completed=self._done)


if __name__ == "__main__":
    main()
