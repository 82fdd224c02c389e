"""The served application: Streamlit's, with deep links answered cleanly and failures kept off the page.

- Streamlit's page guesses where its server lies from the address, so /case would first ask /case/_stcore/health, get a 404
  and log an error. The pages we name are answered with the place written into them.
- What a script fails of is logged; the reader gets one sentence, never a trace.
"""

import logging
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

_INDEX = Path(st.__file__).parent / "static" / "index.html"
_PLACE = "<script>window.__streamlit = { BACKEND_BASE_URL: window.location.origin }</script>"
_PAGES = sorted(Path(__file__).with_name("app_pages").glob("[a-z]*.py"))
_log = logging.getLogger("tieout.dashboard")


def _index() -> str:
    page = _INDEX.read_text(encoding="utf-8")
    return page.replace("<head>", f"<head>{_PLACE}", 1).replace("<title>Streamlit</title>", "<title>tieout</title>", 1)


async def _page(_request: Request) -> HTMLResponse:
    return HTMLResponse(_PAGE, headers={"Cache-Control": "no-cache"})


def _failed(error: Exception) -> bool:
    _log.error("a page failed", exc_info=error)
    from dashboard import components  # here, because its caches need the running server

    components.show(
        components.banner("This page could not be drawn.", "The reason is in the dashboard's log; reload to try again.")
    )
    return True


_PAGE = _index()
app = st.App(
    Path(__file__).with_name("streamlit_app.py"),
    routes=[Route(f"/{script.stem}", _page) for script in _PAGES],
    on_script_error=_failed,
)
