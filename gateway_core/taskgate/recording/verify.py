"""Offline verification: of an exported bundle, or of a gateway's data folder.

What is checked, session by session: every header's form, the chain, every content that is there against its header's
commitment, the heads that checkpoints signed for, the end. Then the checkpoints' own numbers, chain and signatures, and
for a bundle its manifest and container, so that no byte is beyond doubt. The first bad record is named.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import sleep

import orjson

from taskgate.errors import GatewayFault
from taskgate.recording.bundle import (
    CHECKPOINTS,
    MANIFEST,
    PUBLIC_KEY,
    SESSIONS,
    SIGNATURE,
    UNREADABLE,
    Bundle,
    Manifest,
    from_line,
    open_bundle,
    read_lines,
    session_file,
)
from taskgate.recording.checkpoints import FILE as CHECKPOINT_FILE
from taskgate.recording.checkpoints import read_checkpoints
from taskgate.recording.findings import Problem, SessionFinding, Verification
from taskgate.recording.header import Record
from taskgate.recording.keys import PublicKey
from taskgate.recording.outside import ALWAYS_DUE, Newer, OutsideCheckpoints
from taskgate.recording.recordings import Recordings
from taskgate.recording.session_check import check_session
from taskgate.recording.signed_history import SignedHistory


def verify(
    path: Path, *, public_keys: Sequence[PublicKey] = (), outside: Path | None = None, sessions: Sequence[str] = ()
) -> Verification:
    """Check the bundle (zip or folder) or data folder at `path`. `public_keys`: the gateway's, got from elsewhere;
    without any the evidence's own key is used and the result is not `trusted`. `outside`: a file of checkpoints
    that were pushed to a sink. `sessions`: in a data folder only these; in a bundle these must be there. Raises
    GatewayFault for what is neither a bundle nor a data folder, ClientFault where there is nothing `outside`."""
    with ExitStack() as stack:
        # First of all: what a gateway appends from now on is of no concern.
        known = None if outside is None else stack.enter_context(closing(OutsideCheckpoints(outside)))
        if (path / "checkpoints").is_dir() and not (path / MANIFEST).exists():
            return _verify_data(path, public_keys, known, sessions)
        return _verify_bundle(stack.enter_context(closing(open_bundle(path))), public_keys, known, sessions)


def _notes(
    findings: Sequence[SessionFinding], absent: int, trusted: bool, newer: Newer, everything: bool
) -> Iterator[str]:
    if not trusted:
        yield "The key came with the evidence: pass the gateway's public key to know who signed it."
    for one in findings:
        if one.problem is None:
            if one.unfinished:
                listed = ", ".join(map(str, one.unfinished[:10]))
                yield f"session {one.session}: no result is recorded of action {listed}: it ended first."
            if not one.closed:
                left = one.records - one.signed
                yield f"session {one.session} is still open; {left} records are chained but not signed for yet."
            if one.erased:
                yield f"session {one.session}: its content was erased."
            if one.goes_on:
                last, number = one.goes_on
                yield f"session {one.session} went on: checkpoint {number}, known outside, signed up to record {last}."
    if absent:
        yield f"{absent} more sessions are named by the checkpoints and not part of this evidence."
    if newer.count:
        yield f"{newer.count} newer checkpoints are known outside."
    if everything and (since := sorted(newer.heads.keys() - {one.session for one in findings})):
        more = f" and {len(since) - _NAMED} more" if len(since) > _NAMED else ""
        yield f"not here, but known outside: session {', '.join(since[:_NAMED])}{more}."


_NAMED = 10
UNCHECKED = "contents were not checked: no recording key"
_MOMENT = 0.5
_MOMENTS = 5

# --- a data folder -----------------------------------------------------------------------------------------------


def _verify_data(
    data_dir: Path, keys: Sequence[PublicKey], outside: OutsideCheckpoints | None, sessions: Sequence[str]
) -> Verification:
    opened = (data_dir / "keys" / "recording.key").exists()  # it may well be kept apart from what it opens
    recordings = Recordings(data_dir, contents=opened)
    own = _own_key((data_dir / "keys" / "checkpoint.pub").read_bytes)
    trusted_keys = list(keys) or own
    # Checkpoints first: they speak of what is on disk, so whatever they name can be read afterwards.
    path = data_dir / "checkpoints" / CHECKPOINT_FILE
    history = SignedHistory.of(read_checkpoints(path), trusted_keys)
    newer = _newer(outside, history, trusted_keys, ALWAYS_DUE)
    for _ in range(_MOMENTS):
        if not newer.count:
            break
        sleep(_MOMENT)  # a folder on another machine shows what was appended there a little later
        history = SignedHistory.of(read_checkpoints(path), trusted_keys)
        newer = _newer(outside, history, trusted_keys, ALWAYS_DUE)
    named = frozenset[str]() if sessions else frozenset(history.heads.keys() | newer.due.keys())
    problems = []
    if newer.first_due is not None:
        what = "was pushed outside and is not here: the folder is in an earlier state than it has been"
        problems.append(Problem(what, place=f"checkpoint {newer.first_due}"))
    try:
        chosen = list(sessions) or recordings.sessions()
    except (GatewayFault, KeyError, TypeError, ValueError):
        problems.append(Problem("cannot be read: not what a gateway writes", place="journal"))
        chosen = list(history.heads)
    findings = []
    for session in sorted(chosen):
        finding = check_session(session, recordings.read(session), history, newer, contents=True)
        for _ in range(_MOMENTS):
            if finding.problem is None or history.problem or not _just_now(finding, recordings):
                break
            sleep(_MOMENT)
            history = SignedHistory.of(read_checkpoints(path), trusted_keys)
            finding = check_session(session, recordings.read(session), history, newer, contents=True)
        findings.append(finding)
    if not sessions:
        findings += [
            SessionFinding(one, 0, 0, "", False, 0, None, problem=Problem("is missing as a whole", one, 0))
            for one in sorted(named - set(chosen))
        ]
    result = _result(findings, history, problems, newer, trusted=bool(keys), everything=not sessions)
    return result if opened else replace(result, notes=(UNCHECKED, *result.notes))


def _just_now(finding: SessionFinding, recordings: Recordings) -> bool:
    """Whether the session begins or ends at this moment: then it is signed for within another."""
    if finding.signed and not finding.closed:
        return False
    try:
        return not recordings.finished(finding.session)
    except GatewayFault:  # no gateway names a session so
        return False


def _own_key(read: Callable[[], bytes]) -> list[PublicKey]:
    try:
        return [PublicKey.parse(read())]
    except (KeyError, *UNREADABLE):
        return []


def _newer(outside: OutsideCheckpoints | None, history: SignedHistory, keys: Sequence[PublicKey], made: int) -> Newer:
    return Newer() if outside is None else outside.beyond(history, keys, made=made)


def _result(
    findings: Sequence[SessionFinding],
    history: SignedHistory,
    problems: Sequence[Problem],
    newer: Newer,
    *,
    trusted: bool,
    everything: bool,
) -> Verification:
    every = [*problems, *(one for one in (history.problem, newer.problem) if one)]
    absent = len(history.heads.keys() - {one.session for one in findings})
    notes = tuple(_notes(findings, absent, trusted, newer, everything))
    return Verification(tuple(findings), history.count, absent, trusted, tuple(every), notes)


# --- a bundle ----------------------------------------------------------------------------------------------------


def _verify_bundle(
    bundle: Bundle, keys: Sequence[PublicKey], outside: OutsideCheckpoints | None, sessions: Sequence[str]
) -> Verification:
    trusted_keys = list(keys) or _own_key(lambda: _read(bundle, PUBLIC_KEY))
    manifest, problems = _manifest(bundle, trusted_keys)
    if manifest is None and not keys and _differs(bundle, PUBLIC_KEY):
        problems.insert(0, Problem("is missing, or differs from what the manifest lists", place=PUBLIC_KEY))
    try:
        with bundle.open(CHECKPOINTS) as file:
            history = SignedHistory.of((line.removesuffix(b"\n") for line in read_lines(file)), trusted_keys)
    except (KeyError, *UNREADABLE):
        history = SignedHistory(problem=Problem("is missing or cannot be read", place=CHECKPOINTS))
    if manifest is not None and history.problem is None and manifest.checkpoints != history.count:
        said = f"{manifest.checkpoints} were exported, {history.count} are here"
        history.problem = Problem(said, place=CHECKPOINTS)
    named = {one.session for one in manifest.sessions} if manifest else set()
    found = {name.removeprefix(SESSIONS).removesuffix(".jsonl") for name in bundle.names() if name.startswith(SESSIONS)}
    wanted = named | found | set(sessions)
    newer = _newer(outside, history, trusted_keys, manifest.created if manifest else 0)
    if newer.first_due is not None:
        what = "was pushed outside before this bundle was made, and is not in it"
        problems.append(Problem(what, place=f"checkpoint {newer.first_due}"))
    everything = manifest is not None and manifest.everything
    if everything:
        wanted |= history.heads.keys() | newer.due.keys()
    contents = manifest is not None and manifest.contents
    findings = [
        check_session(one, _records(bundle, session_file(one)), history, newer, contents=contents)
        for one in sorted(wanted)
    ]
    findings = [_compared(one, manifest, {problem.place for problem in problems}) for one in findings]
    return _result(findings, history, problems, newer, trusted=bool(keys), everything=everything)


def _records(bundle: Bundle, name: str) -> Iterator[Record]:
    try:
        file = bundle.open(name)
    except KeyError:
        return
    with file as opened:
        for line in read_lines(opened):
            yield from_line(line)


def _read(bundle: Bundle, name: str) -> bytes:
    with bundle.open(name) as file:
        return file.read()


def _manifest(bundle: Bundle, keys: Sequence[PublicKey]) -> tuple[Manifest | None, list[Problem]]:
    """The manifest, where it and its signature hold, and what is wrong with the container and the files it lists."""
    problems: list[Problem] = []
    name = MANIFEST
    try:
        raw = _read(bundle, MANIFEST)
        manifest = Manifest.parse(raw)
        name = SIGNATURE
        signed = _read(bundle, SIGNATURE)
        fields = orjson.loads(signed)
        form = orjson.dumps({"key": fields["key"], "signature": fields["signature"]})
    except (KeyError, TypeError, *UNREADABLE) as error:
        return None, [Problem(f"cannot be read: {error}", place=name)]
    signature = str(fields["signature"])
    if form != signed or not any(key.id == fields["key"] and key.verifies(raw, signature) for key in keys):
        return None, [Problem(f"does not fit its signature in {SIGNATURE}, or another key made that", place=MANIFEST)]
    listed = manifest.files.keys() | {MANIFEST, SIGNATURE}
    for name in sorted(listed ^ set(bundle.names())):
        problems.append(Problem("is missing" if name in listed else "does not belong here", place=name))
    for name, digest in sorted(manifest.files.items()):
        try:
            with bundle.open(name) as file:
                actual = sha256()
                while chunk := file.read(1 << 20):
                    actual.update(chunk)
        except (KeyError, *UNREADABLE):
            problems.append(Problem("is missing or cannot be read", place=name))
            continue
        if actual.hexdigest() != digest:
            problems.append(Problem("differs from what the manifest lists", place=name))
    try:
        strange = bundle.strange()
    except UNREADABLE as error:
        strange = str(error)
    if strange:
        problems.append(Problem(strange))
    return manifest, problems


def _differs(bundle: Bundle, name: str) -> bool:
    """Whether a file is not what the manifest lists, signed or not."""
    try:
        listed = Manifest.parse(_read(bundle, MANIFEST)).files.get(name)
    except (KeyError, *UNREADABLE):
        return False  # the manifest itself is damaged
    try:
        return sha256(_read(bundle, name)).hexdigest() != listed
    except (KeyError, *UNREADABLE):
        return True


def _compared(finding: SessionFinding, manifest: Manifest | None, damaged: Collection[str | None]) -> SessionFinding:
    """With what the signed manifest says of the session."""
    if finding.problem is not None:
        return replace(finding, problem=replace(finding.problem, place=session_file(finding.session)))
    if manifest is None:  # nothing says whether contents should be here
        return replace(finding, whole=finding.whole and (finding.erased or finding.contents == finding.records))
    said = next((one for one in manifest.sessions if one.session == finding.session), None)
    if said is None:
        return finding
    if (finding.records, finding.head) != (said.records, said.head):
        problem = Problem("has other records than the manifest says", finding.session, finding.records)
        return replace(finding, problem=problem)
    listed = not finding.whole and session_file(finding.session) not in damaged
    return replace(finding, whole=finding.whole or listed, listed=listed)
