"""DCL and administration: who may what, and what concerns the server rather than a schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskgate.sql.analysis import Analysis
from taskgate.sql.facts import StatementFacts
from taskgate.sql.named_objects import finished, named_object, plain

Node = dict[str, Any]


def _grant(a: Analysis, fields: Node) -> StatementFacts:
    kind = fields.get("objtype", "")
    if fields.get("targtype") == "ACL_TARGET_ALL_IN_SCHEMA":
        kind = "OBJECT_SCHEMA"
    objects = fields.get("objects", [])
    for node in objects:
        if "RangeVar" in node:
            a.relation(node["RangeVar"], "dcl")
        else:
            named_object(a, "dcl", kind, node)
    if not objects:
        a.pair("dcl")
    return finished(a, "GRANT" if fields.get("is_grant") else "REVOKE")


def _role(tag: str) -> Callable[[Analysis, Node], StatementFacts]:
    def statement(a: Analysis, fields: Node) -> StatementFacts:
        named = fields.get("role", "")
        a.pair("dcl", named.get("rolename", "") if isinstance(named, dict) else named)
        return finished(a, tag)

    return statement


KINDS: dict[str, Callable[[Analysis, Node], StatementFacts]] = {
    "GrantStmt": _grant,
    "GrantRoleStmt": plain("dcl", "GRANT ROLE"),
    "AlterDefaultPrivilegesStmt": plain("dcl", "ALTER DEFAULT PRIVILEGES"),
    "CreateRoleStmt": _role("CREATE ROLE"),
    "AlterRoleStmt": _role("ALTER ROLE"),
    "AlterRoleSetStmt": _role("ALTER ROLE"),
    "DropRoleStmt": plain("dcl", "DROP ROLE"),
    "DropOwnedStmt": plain("dcl", "DROP OWNED"),
    "ReassignOwnedStmt": plain("dcl", "REASSIGN OWNED"),
    "SecLabelStmt": plain("dcl", "SECURITY LABEL"),
    "CreateExtensionStmt": plain("admin", "CREATE EXTENSION", "extname", code=True),
    "AlterExtensionStmt": plain("admin", "ALTER EXTENSION", "extname", code=True),
    "AlterExtensionContentsStmt": plain("admin", "ALTER EXTENSION", "extname", code=True),
    "CreateFdwStmt": plain("admin", "CREATE FOREIGN DATA WRAPPER", "fdwname"),
    "AlterFdwStmt": plain("admin", "ALTER FOREIGN DATA WRAPPER", "fdwname"),
    "CreateForeignServerStmt": plain("admin", "CREATE SERVER", "servername"),
    "AlterForeignServerStmt": plain("admin", "ALTER SERVER", "servername"),
    "CreateUserMappingStmt": plain("admin", "CREATE USER MAPPING", "servername"),
    "AlterUserMappingStmt": plain("admin", "ALTER USER MAPPING", "servername"),
    "DropUserMappingStmt": plain("admin", "DROP USER MAPPING", "servername"),
    "ImportForeignSchemaStmt": plain("admin", "IMPORT FOREIGN SCHEMA", "local_schema"),
    "CreateTableSpaceStmt": plain("admin", "CREATE TABLESPACE", "tablespacename"),
    "AlterTableSpaceOptionsStmt": plain("admin", "ALTER TABLESPACE", "tablespacename"),
    "AlterTableMoveAllStmt": plain("admin", "ALTER TABLE ALL", "orig_tablespacename"),
    "DropTableSpaceStmt": plain("admin", "DROP TABLESPACE", "tablespacename"),
    "CreatedbStmt": plain("admin", "CREATE DATABASE", "dbname"),
    "DropdbStmt": plain("admin", "DROP DATABASE", "dbname"),
    "AlterDatabaseStmt": plain("admin", "ALTER DATABASE", "dbname"),
    "AlterDatabaseSetStmt": plain("admin", "ALTER DATABASE", "dbname"),
    "AlterDatabaseRefreshCollStmt": plain("admin", "ALTER DATABASE", "dbname"),
    "AlterSystemStmt": plain("admin", "ALTER SYSTEM"),
    "LoadStmt": plain("admin", "LOAD", "filename"),
    "CreatePLangStmt": plain("admin", "CREATE LANGUAGE", "plname", code=True),
    "CreateEventTrigStmt": plain("admin", "CREATE EVENT TRIGGER", "trigname"),
    "AlterEventTrigStmt": plain("admin", "ALTER EVENT TRIGGER", "trigname"),
    "CreateAmStmt": plain("admin", "CREATE ACCESS METHOD", "amname"),
    "CreatePublicationStmt": plain("admin", "CREATE PUBLICATION", "pubname"),
    "AlterPublicationStmt": plain("admin", "ALTER PUBLICATION", "pubname"),
    "CreateSubscriptionStmt": plain("admin", "CREATE SUBSCRIPTION", "subname"),
    "AlterSubscriptionStmt": plain("admin", "ALTER SUBSCRIPTION", "subname"),
    "DropSubscriptionStmt": plain("admin", "DROP SUBSCRIPTION", "subname"),
}
