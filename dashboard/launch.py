"""How the dashboard's process is started: the command and its environment, for a supervisor to run.

Nothing leaves the machine: usage statistics are off, fonts are the system's. The store's address travels in TIEOUT_STORE.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from dashboard.theme import streamlit_options

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8501
APP = Path(__file__).with_name("server.py")

OPTIONS = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.showEmailPrompt": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.showSidebarNavigation": "false",
    "ui.hideTopBar": "true",
    "logger.hideWelcomeMessage": "true",
}


class Launch(NamedTuple):
    command: list[str]
    env: dict[str, str]
    url: str
    health_url: str  # answers 200 when pages can be served


def run(host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, store_url: str | None = None) -> Launch:
    """What to start. Without `store_url` the environment's TIEOUT_STORE, or the default store, is read."""
    options = {"server.address": host, "server.port": str(port), **OPTIONS, **streamlit_options()}
    flags = [f"--{name}={value}" for name, value in options.items()]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(APP.parents[1]), os.environ.get("PYTHONPATH")))),
    }
    if store_url is not None:
        env["TIEOUT_STORE"] = store_url
    shown = "127.0.0.1" if host in ("", "0.0.0.0") else host
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    return Launch([sys.executable, "-m", "streamlit", "run", str(APP), *flags], env, url, f"{url}/_stcore/health")
