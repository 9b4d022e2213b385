"""PostgreSQL's own parser: text → raw parse tree, as the JSON that libpg_query prints.

The shared library is the one bundled with `postgast`; the binding is our own because its Python layer builds protobuf
objects (three times slower than JSON through orjson).

libpg_query has no stack depth check of its own: right-recursive nesting ends in bison's `memory exhausted`, but
left-recursive chains (`1+1+1…`, `x::a::a…`, `UNION`, `JOIN`) build trees as deep as the text is long, and its printer
recurses over them: 200 kB of `+1` overflow an 8 MiB stack and kill the process. Measured on x86-64, the worst case is
66 bytes of stack a byte of text. So short texts are parsed in place, longer ones on a thread whose stack is sized for
the text, and texts over MAX_TEXT not at all. orjson then refuses trees nested deeper than 1024.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import platform
import re
import threading
from pathlib import Path
from typing import Any

import orjson

from taskgate.sql.faults import StatementTooComplex, SyntaxFault, TextFault

Node = dict[str, Any]

GRAMMAR = 18  # PostgreSQL major version of the bundled grammar; a test holds the library to it
MAX_TEXT = 1 << 20  # bytes of UTF-8
MAX_TREE = 8 << 20  # bytes of JSON: read in one go, while every other thread waits
MAX_STATEMENTS = 2_000

_OPERATORS = re.compile(rb"[~!@#^&|`?+\-*/%<>=]{4096,}")
_MOST_GLUED_COMMENTS = 256

_IN_PLACE = 16 << 10  # bytes of text parsed on the caller's own stack: at most 2.5 MiB of it
_STACK_PER_BYTE = 160
_STACK_BASE = 8 << 20
_NAMES = {"Darwin": "libpg_query.dylib", "Windows": "pg_query.dll"}


class _Error(ctypes.Structure):
    _fields_ = (
        ("message", ctypes.c_char_p),
        ("funcname", ctypes.c_char_p),
        ("filename", ctypes.c_char_p),
        ("lineno", ctypes.c_int),
        ("cursorpos", ctypes.c_int),
        ("context", ctypes.c_char_p),
    )


class _ParseResult(ctypes.Structure):
    _fields_ = (
        ("parse_tree", ctypes.c_char_p),
        ("stderr_buffer", ctypes.c_char_p),
        ("error", ctypes.POINTER(_Error)),
    )


def _load() -> ctypes.CDLL:
    spec = importlib.util.find_spec("postgast")
    if spec is None or spec.origin is None:
        raise ImportError("libpg_query: install `postgast` (extra `gateway`).")
    library = ctypes.CDLL(str(Path(spec.origin).parent / _NAMES.get(platform.system(), "libpg_query.so")))
    library.pg_query_parse.argtypes = [ctypes.c_char_p]
    library.pg_query_parse.restype = _ParseResult
    library.pg_query_free_parse_result.argtypes = [_ParseResult]
    library.pg_query_free_parse_result.restype = None
    return library


_LIBRARY = _load()
_STACK_SIZE_LOCK = threading.Lock()


def parse(text: str | bytes) -> list[Node]:
    """The raw statements of `text`, in order, as `{"stmt": {"SelectStmt": {…}}, "stmt_location": …, "stmt_len": …}`
    (locations are bytes of UTF-8; absent means 0). Raises SyntaxFault, StatementTooComplex, TextFault."""
    encoded = _encoded(text)
    tree = _tree(encoded)
    if len(tree) > MAX_TREE:
        raise StatementTooComplex(f"the statement's parse tree is larger than {MAX_TREE >> 20} MiB")
    collecting = gc.isenabled()
    gc.disable()  # a tree is all new objects and no garbage: collections would double the time
    try:
        parsed = orjson.loads(tree)
    except orjson.JSONDecodeError as error:
        raise StatementTooComplex("the statement is nested too deeply to be analysed") from error
    finally:
        if collecting:
            gc.enable()
    statements: list[Node] = parsed.get("stmts", [])
    if len(statements) > MAX_STATEMENTS:
        raise StatementTooComplex(f"more than {MAX_STATEMENTS} statements in one text")
    return statements


def grammar_version() -> int:
    """The `server_version_num` of the bundled grammar, as the library reports it."""
    version: int = orjson.loads(_tree(b""))["version"]
    return version


def _encoded(text: str | bytes) -> bytes:
    try:
        encoded = text.encode() if isinstance(text, str) else text
        if isinstance(text, bytes):
            text.decode()
    except UnicodeError as error:
        raise TextFault("the text is not valid UTF-8") from error
    if b"\0" in encoded:
        raise TextFault("the text holds a NUL character")
    if len(encoded) > MAX_TEXT:
        raise StatementTooComplex(f"the text is longer than {MAX_TEXT} bytes")
    for run in _OPERATORS.finditer(encoded):
        # The scanner reads such a run to its end for every comment that begins in it: minutes for a megabyte.
        if run.group().count(b"/*") > _MOST_GLUED_COMMENTS:
            raise StatementTooComplex("comments are nested too deeply to be analysed")
    return encoded


def _tree(encoded: bytes) -> bytes:
    if len(encoded) <= _IN_PLACE:
        return _call(encoded)
    outcome: list[bytes | Exception] = []

    def run() -> None:
        try:
            outcome.append(_call(encoded))
        except (SyntaxFault, StatementTooComplex) as error:
            outcome.append(error)

    with _STACK_SIZE_LOCK:
        usual = threading.stack_size(_STACK_BASE + (_STACK_PER_BYTE * len(encoded) & ~0xFFFF))
        try:
            thread = threading.Thread(target=run, name="parse", daemon=True)
            thread.start()
        except RuntimeError as error:  # no memory for such a stack
            raise StatementTooComplex("no memory to analyse a statement of this length") from error
        finally:
            threading.stack_size(usual)
    thread.join()
    result = outcome[0]
    if isinstance(result, Exception):
        raise result
    return result


def _call(encoded: bytes) -> bytes:
    result = _LIBRARY.pg_query_parse(encoded)
    try:
        if not result.error:
            return bytes(result.parse_tree)
        error = result.error.contents
        message = error.message.decode(errors="replace") if error.message else "syntax error"
        if message.startswith(("memory exhausted", "stack depth")):
            raise StatementTooComplex("the statement is nested too deeply to be analysed")
        position = error.cursorpos
        if position > 0:
            position = len(encoded[: position - 1].decode(errors="ignore")) + 1
        raise SyntaxFault(message, position=max(position, 0))
    finally:
        _LIBRARY.pg_query_free_parse_result(result)
