from taskgate.identity.scopes import PEOPLE_ONLY, Scope, permits


def test_admin_may_everything_but_decide() -> None:
    admin = frozenset({Scope.ADMIN})
    assert {scope for scope in Scope if not permits(admin, scope)} == {Scope.APPROVALS_DECIDE} == PEOPLE_ONLY


def test_scopes_give_nothing_beyond_themselves() -> None:
    for held in Scope:
        if held is not Scope.ADMIN:
            assert {wanted for wanted in Scope if permits(frozenset({held}), wanted)} == {held}
    assert not any(permits(frozenset(), scope) for scope in Scope)
