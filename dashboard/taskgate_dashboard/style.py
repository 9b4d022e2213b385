"""How it looks: one sheet, and the few pieces of HTML the pages share. Every text goes through `visible`."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st
from PIL import Image, ImageDraw

from taskgate_dashboard.visible import marked_html, plain

_SHEET = """
<style>
.block-container {padding: 4.4rem 2rem 3rem 2rem; max-width: 1500px;}
.tg-code {font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; background: #f6f8fa; border: 1px solid #d8dee4; border-radius: 8px; padding: .7rem .9rem;
  margin: .2rem 0 .6rem 0; color: #1f2328; unicode-bidi: isolate-override; direction: ltr;}
.tg-code .n {color: #8c959f; user-select: none; display: inline-block; min-width: 2rem; margin-right: .6rem;
  text-align: right;}
.tg-hidden {background: #cf222e; color: #fff; border-radius: 3px; padding: 0 .25em; font-size: .9em;}
.tg-foreign {background: #fff3c4; border-bottom: 2px solid #d4a72c;}
.tg-chip {display: inline-block; border-radius: 999px; padding: .05rem .6rem; margin: 0 .3rem .25rem 0;
  font-size: .78rem; font-weight: 600; border: 1px solid transparent; line-height: 1.5;}
.tg-grey {background: #eef1f4; color: #424a53;} .tg-blue {background: #ddf4ff; color: #0550ae;}
.tg-green {background: #dafbe1; color: #116329;} .tg-amber {background: #fff1d6; color: #7d4e00;}
.tg-red {background: #ffebe9; color: #a40e26;} .tg-mono {font-family: ui-monospace, Menlo, Consolas, monospace;}
.tg-title {font-size: 1.25rem; font-weight: 650; line-height: 1.35; margin: 0 0 .3rem 0; color: #1f2328;}
.tg-facts {display: grid; grid-template-columns: max-content 1fr; gap: .18rem 1rem; font-size: .88rem;
  margin: .2rem 0 !important; padding: 0 !important;}
.tg-facts dt {color: #656d76; font-weight: 400; margin: 0; padding: 0;}
.tg-facts dd {margin: 0; padding: 0; color: #1f2328; overflow-wrap: anywhere;}
.tg-head {font-size: .74rem; letter-spacing: .05em; text-transform: uppercase; color: #656d76; font-weight: 650;
  margin: .7rem 0 .2rem 0;}
.tg-row {border-left: 3px solid #d8dee4; padding: .1rem 0 .5rem .9rem; margin-left: .3rem;}
.tg-row.tg-refused {border-color: #cf222e;} .tg-row.tg-ran {border-color: #2da44e;}
.tg-row.tg-asked {border-color: #d4a72c;}
.st-key-deny-confirm button, .st-key-kill-confirm button {background: #cf222e; border-color: #cf222e;}
.st-key-deny-confirm button:hover, .st-key-kill-confirm button:hover {background: #a40e26; border-color: #a40e26;}
.tg-when {color: #656d76; font-size: .8rem; font-variant-numeric: tabular-nums;}
.tg-note {color: #656d76; font-size: .85rem;}
</style>
"""


def icon() -> Image.Image:
    """The page's icon, drawn here: Streamlit would fetch a named one from the internet."""
    picture = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((2, 2, 62, 62), 14, fill="#1f6feb")
    draw.rectangle((14, 16, 50, 24), fill="white")
    draw.rectangle((28, 16, 36, 50), fill="white")
    return picture


def sheet() -> None:
    st.html(_SHEET)


def chip(text: object, colour: str = "grey", *, mono: bool = False) -> str:
    return f'<span class="tg-chip tg-{colour}{" tg-mono" if mono else ""}">{marked_html(str(text))}</span>'


def chips(texts: Iterable[object], colour: str = "grey", *, mono: bool = False) -> str:
    return "".join(chip(text, colour, mono=mono) for text in texts)


def title(text: object) -> str:
    return f'<div class="tg-title">{marked_html(str(text))}</div>'


def head(text: str) -> str:
    return f'<div class="tg-head">{marked_html(text)}</div>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A list of names and values; the values are HTML already."""
    lines = "".join(f"<dt>{marked_html(name)}</dt><dd>{value}</dd>" for name, value in rows)
    return f'<dl class="tg-facts">{lines}</dl>' if lines else ""


def said(text: object) -> str:
    """One value as HTML."""
    return marked_html(str(text))


def code(text: str, *, numbered: bool = False) -> str:
    """Exact text: wrapped, so that nothing stands out of sight to the right; line numbers, so that nothing below."""
    lines = text.split("\n")
    if not numbered or len(lines) == 1:
        return f'<div class="tg-code">{marked_html(text)}</div>'
    body = "\n".join(f'<span class="n">{number}</span>{marked_html(line)}' for number, line in enumerate(lines, 1))
    return f'<div class="tg-code">{body}</div>'


def show(*html: str) -> None:
    st.html("".join(html))


def cell(text: object) -> str:
    """For tables, which take no HTML."""
    return plain(text)
