"""The one palette. Streamlit's own widgets get it as options, our markup as CSS variables; no colour is written elsewhere.

Outcome colours have a contrast of at least 4.5:1 on white and on their own tint, and never stand alone: a word and a
shape go with each.
"""

from pathlib import Path

PALETTE = {
    "ink": "#17212f",
    "muted": "#566272",
    "faint": "#8a94a3",
    "line": "#e2e6ec",
    "surface": "#ffffff",
    "canvas": "#f5f6f8",
    "accent": "#1b4f8f",
    "accent-tint": "#e8eff8",
    "ok": "#17703f",
    "ok-tint": "#e5f3ea",
    "pending": "#7d5200",
    "pending-tint": "#fbf1da",
    "break": "#b0241b",
    "break-tint": "#fcebe9",
}
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif'
MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace'


def streamlit_options() -> dict[str, str]:
    """Streamlit's theme in its own option names."""
    return {
        "theme.base": "light",
        "theme.primaryColor": PALETTE["accent"],
        "theme.backgroundColor": PALETTE["canvas"],
        "theme.secondaryBackgroundColor": PALETTE["surface"],
        "theme.textColor": PALETTE["ink"],
        "theme.borderColor": PALETTE["line"],
        "theme.linkColor": PALETTE["accent"],
        "theme.font": FONT,
        "theme.codeFont": MONO,
        "theme.baseRadius": "6px",
        "theme.baseFontSize": "14",
        "theme.showWidgetBorder": "true",
    }


def css() -> str:
    """The style sheet with the palette as variables in front."""
    variables = "".join(f"--{name}: {value}; " for name, value in PALETTE.items())
    sheet = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    return f":root {{ {variables}--font: {FONT}; --mono: {MONO}; }}\n{sheet}"


def icon() -> str:
    """The tab's icon: a balance beam. Drawn here, because Streamlit's own icons are fetched from another host."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        f'<rect width="32" height="32" rx="7" fill="{PALETTE["accent"]}"/>'
        f'<path d="M7 11h18M7 21h18M16 7v18" stroke="{PALETTE["surface"]}" stroke-width="3" stroke-linecap="round"/></svg>'
    )
