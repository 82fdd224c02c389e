"""The command that a supervisor starts: where it listens, what it is told, and that it tells nobody else."""

import ast
import sys
from pathlib import Path

import pytest

import dashboard
from dashboard import theme
from dashboard.launch import run
from dashboard.server import _index

HERE = Path(dashboard.__file__).parent


def test_the_store_travels_in_the_environment_and_the_port_on_the_command_line() -> None:
    launch = run("0.0.0.0", 8599, "http://store:8123")
    assert launch.command[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert Path(launch.command[4]).is_file()
    assert {"--server.address=0.0.0.0", "--server.port=8599", "--browser.gatherUsageStats=false"} <= set(launch.command)
    assert launch.env["TIEOUT_STORE"] == "http://store:8123"
    assert launch.url == "http://127.0.0.1:8599"


def test_without_a_store_the_environments_one_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIEOUT_STORE", "http://elsewhere:1")
    assert run().env["TIEOUT_STORE"] == "http://elsewhere:1"


def test_deep_links_are_told_where_the_server_is() -> None:
    page = _index()
    assert page.index("BACKEND_BASE_URL") < page.index("<script type=")
    assert "<title>tieout</title>" in page


def test_no_colour_is_written_outside_the_palette() -> None:
    for path in [*HERE.rglob("*.py"), *HERE.rglob("*.css")]:
        if path.name != "theme.py":
            assert "#" not in "".join(part for part in path.read_text().split() if _is_colour(part)), path


def _is_colour(part: str) -> bool:
    name = part.strip("\"';,(){}")
    return name.startswith("#") and len(name) in (4, 7) and all(digit in "0123456789abcdefABCDEF" for digit in name[1:])


def _luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *((tone, ground) for tone in ("ok", "pending", "break") for ground in ("surface", "canvas", f"{tone}-tint")),
        ("ink", "canvas"), ("muted", "surface"), ("muted", "canvas"), ("accent", "canvas"),
    ],
)  # fmt: skip
def test_text_can_be_read_by_weak_eyes(text: str, ground: str) -> None:
    lighter, darker = sorted((_luminance(theme.PALETTE[text]), _luminance(theme.PALETTE[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_the_dashboard_imports_canonical_at_the_most() -> None:
    ours = {"sources", "matching", "streams", "sinks", "company", "tieout", "gateway"}
    for path in HERE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [n.name for n in getattr(node, "names", ())]
            )
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not {name.partition(".")[0] for name in names} & ours, path
