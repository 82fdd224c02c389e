"""Entry of the dashboard: the frame, then the page that the address names. Started by dashboard.launch."""

import streamlit as st

from dashboard import components, theme

st.set_page_config(page_icon=theme.icon(), layout="wide", initial_sidebar_state="collapsed")

titles = {"": "Overview", "breaks": "Breaks", "case": "Case", "close": "Close", "operations": "Operations"}
page = st.navigation(
    [
        st.Page(script, title=f"{titles[path]} · tieout", url_path=path or "overview", default=not path)
        for path, script in components.PAGES.items()
    ],
    position="hidden",
)
components.frame(page.url_path)
page.run()
