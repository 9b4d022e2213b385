"""The demo's people do not exist, and still look like people to every detector."""

from taskgate.demo.data import customers, orders


def luhn(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def test_cards_pass_luhn_and_ssns_follow_the_rules() -> None:
    for _, _, email, card, ssn, _ in customers(500):
        assert luhn(card)
        assert len(card) == 16
        area, group, serial = ssn.split("-")
        assert area not in ("000", "666")
        assert area < "900"
        assert group != "00"
        assert serial != "0000"
        assert email.endswith("@example.org")


def test_the_same_every_time() -> None:
    assert list(customers(50)) == list(customers(50))
    assert list(orders(50, 10)) == list(orders(50, 10))


def test_orders_belong_to_customers() -> None:
    assert {customer for _, customer, *_ in orders(500, 20)} <= set(range(1, 21))
