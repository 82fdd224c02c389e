"""Files to records: every shape a file of records comes in, and no content that stops the reading."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from sources.records import Mapped, Rejected, SourceError, map_paths, read_csv, read_json, read_stripe

ONE, TWO = b'{"id": 1}', b'{"id": 2}'


def bodies(path: Path) -> list[bytes]:
    return [record.body for record in read_json([str(path)])]


def written(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lines.jsonl", ONE + b"\n" + TWO + b"\n"),
        ("lines.json", ONE + b"\n\n" + TWO),
        ("crlf.ndjson", ONE + b"\r\n" + TWO + b"\r\n"),
        ("array.json", b"[" + ONE + b", " + TWO + b"]"),
        ("pretty.json", b"[\n  " + ONE + b",\n  " + TWO + b"\n]\n"),
        ("compact.json", b"[" + ONE + b",\n" + TWO + b"]"),
        ("bom.json", b"\xef\xbb\xbf" + ONE + b"\n" + TWO),
        ("lines.jsonl.gz", gzip.compress(ONE + b"\n" + TWO, mtime=0)),
        ("renamed.json", gzip.compress(b"[" + ONE + b"," + TWO + b"]", mtime=0)),
    ],
)
def test_two_records_are_read_from_any_shape(tmp_path: Path, name: str, content: bytes) -> None:
    assert bodies(written(tmp_path, name, content)) == [ONE, TWO]


def test_a_pretty_printed_object_is_one_record(tmp_path: Path) -> None:
    content = json.dumps({"id": 1, "lines": [{"a": 1}]}, indent=2).encode()
    assert bodies(written(tmp_path, "one.json", content)) == [content]


def test_a_damaged_line_costs_no_other_line(tmp_path: Path) -> None:
    for damaged in (b'{"id": 3', b"\xff\xfe", b"not json"):
        assert bodies(written(tmp_path, "x.jsonl", damaged + b"\n" + ONE + b"\n" + TWO)) == [damaged, ONE, TWO]
        assert bodies(written(tmp_path, "y.json", ONE + b"\n" + damaged + b"\n" + TWO)) == [ONE, damaged, TWO]


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path: Path) -> None:
    path = written(tmp_path, "x.jsonl", b"\n" + ONE + b"\n\n" + TWO)
    assert [record.line for record in read_json([str(path)])] == [2, 4]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"[1, 2", b"{", b"\x1f\x8b\x08\x00broken", gzip.compress(ONE * 99, mtime=0)[:-9]]
)
def test_a_file_that_cannot_be_read_is_a_dead_letter_and_not_a_crash(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, "x.json", content)
    outcomes = list(map_paths("stripe", [str(path)]))
    assert outcomes, "nothing is left out in silence"
    assert all(isinstance(outcome, Rejected) for outcome in outcomes)


def test_stripes_lists_and_fixture_files_are_taken_apart(tmp_path: Path) -> None:
    listed = written(tmp_path, "a.json", b'{"object": "list", "data": [' + ONE + b", " + TWO + b"]}")
    fixtures = written(tmp_path, "b.json", b'{"resources": {"x": ' + ONE + b', "y": ' + TWO + b"}}")
    nested = written(tmp_path, "c.json", b'[{"object": "list", "data": [' + ONE + b"]}, " + TWO + b"]")
    escaped = written(tmp_path, "d.json", b'{"object": "l\\u0069st", "data": [' + ONE + b", " + TWO + b"]}")
    for path in (listed, fixtures, nested, escaped):
        assert [record.body for record in read_stripe([str(path)])] == [ONE, TWO]


def test_a_folder_is_read_in_order_without_what_is_hidden_or_foreign(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.json", "a.json", "sub/c.jsonl", ".hidden.json", "README.md"):
        (tmp_path / name).write_bytes(ONE)
    assert [Path(record.path).name for record in read_json([str(tmp_path)])] == ["a.json", "b.json", "c.jsonl"]


def test_csv_in_other_hands(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", b'\xef\xbb\xbfa;b\r\n1;"x;\r\ny"\r\n\r\n2;\xff\r\n3\r\n')
    records = list(read_csv([str(path)]))
    assert json.loads(records[0].body) == {"a": "1", "b": "x;\r\ny"}
    assert records[1].body == b"2,\xff", "bytes in another encoding stay as they are"
    assert json.loads(records[2].body) == {"columns": 2, "cells": 1, "row": "3"}
    assert len(records) == 3


def test_a_wrong_source_or_path_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="unknown source 'strip'; known are canonical, stripe"):
        map_paths("strip", [str(tmp_path)])
    with pytest.raises(SourceError, match="no such file or folder"):
        map_paths("stripe", [str(tmp_path / "missing")])
    with pytest.raises(SourceError, match="no file ending in"):
        list(map_paths("stripe", [str(tmp_path)]))


def test_what_is_refused_keeps_its_bytes_and_place(tmp_path: Path) -> None:
    path = written(tmp_path, "x.jsonl", b'{"object": "product", "id": "prod_1"}\n{"object": "custo')
    first, second = map_paths("stripe", [str(path)])
    assert isinstance(first, Rejected)
    assert isinstance(second, Rejected)
    assert (first.failure, first.source, first.path, first.line) == ("policy", "stripe", str(path), 1)
    assert (second.failure, second.line, second.original) == ("mapping", 2, b'{"object": "custo')


def test_a_large_file_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    line = b'{"object": "product", "id": "prod_1", "name": "' + b"x" * 900 + b'"}\n'
    with path.open("wb") as file:
        for _ in range(5_000):
            file.write(line)
    tracemalloc.start()
    count = sum(1 for outcome in map_paths("stripe", [str(path)]) if not isinstance(outcome, Mapped))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_000
    assert peak < 2_000_000, "5 MB of records must not be held at once"
