"""Brings what a peer needs, each under .tieout/peers: a virtual environment of its own, or jars.

- Versions are exact: `NAME.txt` beside the program for Python, a pom for Java. Neither is part of the project's lock.
- What is there for the same file is left alone. What cannot be brought raises NotInstalled with the installer's words.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".tieout" / "peers"
PATIENCE_S = 1_800


class NotInstalled(Exception):
    """The registries or this machine did not give what a peer needs."""


def python(name: str) -> str:
    """The interpreter of a virtual environment that holds exactly what `NAME.txt` says."""
    needed, folder = HERE / f"{name}.txt", CACHE / name
    interpreter = str(folder / "bin" / "python")
    if _is_new(folder, [needed], sys.version):
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([interpreter, "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(needed)])
        _done(folder, [needed], sys.version)
    return interpreter


def jars(pom: str) -> Path:
    """A folder with the jars that `POM` depends on, in `jars`, and with what it compiles, in `classes`."""
    project = HERE / pom
    sources = [project, *sorted((project.parent / "src").rglob("*.java"))]
    folder = CACHE / project.parent.name
    if _is_new(folder, sources):
        if shutil.which("mvn") is None:
            raise NotInstalled("Maven ('mvn') is not here")
        goals = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'jars'}"]
        if len(sources) > 1:
            goals.append("compile")
        _run(["mvn", "-B", "-q", "-Dstyle.color=never", "-f", str(project), f"-Dpeer.build={folder}", *goals])
        _done(folder, sources)
    return folder


def _is_new(folder: Path, sources: Sequence[Path], *also: str) -> bool:
    """Whether the folder was not made from these files; what was there is then gone."""
    stamp = folder / "stamp"
    if stamp.exists() and stamp.read_text() == _digest(sources, *also):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return True


def _done(folder: Path, sources: Sequence[Path], *also: str) -> None:
    (folder / "stamp").write_text(_digest(sources, *also))


def _digest(sources: Sequence[Path], *also: str) -> str:
    return hashlib.sha256(
        b"\0".join([each.read_bytes() for each in sources] + [each.encode() for each in also])
    ).hexdigest()


def _run(command: list[str]) -> None:
    try:
        told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"not done after {PATIENCE_S} s: {' '.join(command[:4])}") from None
    if told.returncode:
        lines = [line for line in (told.stdout + told.stderr).splitlines() if line.strip()]
        raise NotInstalled(" | ".join(lines[-3:]))
