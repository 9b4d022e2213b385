"""The closed vocabulary of effects."""

from __future__ import annotations

_SQL = (
    "select insert update delete merge truncate ddl dcl copy_in copy_out call do set transaction session listen explain"
    " maintenance admin unknown"
)
_SSH = "ssh.exec ssh.shell ssh.forward ssh.agent ssh.x11"
_SFTP = "sftp.read sftp.write sftp.list sftp.remove sftp.rename sftp.setstat"
_KUBERNETES = "get list watch create update patch delete deletecollection exec attach portforward logs proxy"
_HTTP = "get head post put patch delete other websocket"

EFFECTS: frozenset[str] = frozenset(
    [f"sql.{name}" for name in _SQL.split()]
    + _SSH.split()
    + _SFTP.split()
    + [f"k8s.{name}" for name in _KUBERNETES.split()]
    + [f"http.{name}" for name in _HTTP.split()]
)

#: An allow or approve rule reaches these only where it writes them out; no glob does. A deny rule's glob reaches them.
WRITTEN_OUT: frozenset[str] = frozenset({"sql.call", "sql.unknown"})

#: Effects that a session opened read-only can still have.
READS: frozenset[str] = frozenset(
    {
        "sql.select",
        "sql.explain",
        "sql.copy_out",
        "sql.transaction",
        "sql.session",
        "sql.set",
        "sql.listen",
    }
)
