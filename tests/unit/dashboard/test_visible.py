from __future__ import annotations

import html
import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from taskgate.visible import is_plain, is_shown, name
from taskgate_dashboard.visible import literal, marked_html, plain


def test_what_is_plain_stays_as_it_is() -> None:
    assert marked_html("SELECT 1\n  FROM t") == "SELECT 1\n  FROM t"


def test_markup_is_text() -> None:
    assert marked_html("<script>&\"'") == "&lt;script&gt;&amp;&quot;&#x27;"


def test_bidirectional_and_zero_width_characters_are_spelled_out() -> None:
    marked = marked_html("a\u202eb\u200bc\u2066d\ufeff")
    for point in ("U+202E", "U+200B", "U+2066", "U+FEFF"):
        assert f">{point}</span>" in marked
    assert "RIGHT-TO-LEFT OVERRIDE" in marked


def test_control_characters_are_spelled_out() -> None:
    assert ">ESC</span>[2J" in marked_html("\x1b[2J")
    assert ">CR</span>" in marked_html("a\rb")
    assert ">TAB</span>\t" in marked_html("a\tb")
    assert ">U+0085</span>" in marked_html("a\x85b")


def test_lookalikes_are_marked() -> None:
    assert 'class="tg-foreign"' in marked_html("оwner")


def test_blank_letters_and_spaces_count_as_hidden() -> None:
    for char in "\u3164\u115f\u2800\u00a0\u2003\u2028\u3000":
        assert 'class="tg-hidden"' in marked_html(char), name(char)


def test_tables_get_escapes() -> None:
    assert plain("a\u202eb\nc\x00\U000e0001é") == "a\\u202eb\\nc\\x00\\U000e0001é"


def test_markdown_means_nothing() -> None:
    assert literal("**x** [a](http://b) :red[c] $y$ `z`") == (
        r"\*\*x\*\* \[a\]\(http\:\/\/b\) \:red\[c\] \$y\$ \`z\`".replace(r"\/", "/")
    )


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_nothing_invisible_is_left_and_nothing_is_lost(text: str) -> None:
    marked = marked_html(text)
    shown = html.unescape(re.sub(r"<[^>]*>", "", re.sub(r' title="[^"]*"', "", marked)))
    assert all(is_shown(char) or char in "\n\t" for char in shown)
    assert all(unicodedata.category(char) not in {"Cf", "Cc", "Cs", "Zl", "Zp"} or char in "\n\t" for char in shown)
    kept = [char for char in text if is_plain(char) or char == "\n"]
    assert [char for char in html.unescape(re.sub(r"<span.*?</span>", "", marked)) if char != "\t"] == kept
    assert all(is_shown(char) for char in plain(text))
