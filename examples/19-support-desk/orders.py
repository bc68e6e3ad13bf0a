"""The orders of the shop, and what was paid back: a stand-in for its database."""

from pathlib import Path
from typing import NamedTuple


class Order(NamedTuple):
    """What was bought, the euros paid, and the day on which it arrived."""

    goods: str
    paid: float
    delivered: str


ORDERS = {
    "1041": Order("rear light", 24.50, "2025-03-03"),
    "1042": Order("helmet", 59.00, "2025-03-10"),
    "1043": Order("chain", 18.90, "2025-03-12"),
}


def find_order(number: str) -> str:
    """Look up an order.

    Args:
        number: its number, such as 1042.
    """
    order = ORDERS.get(number)
    if order is None:
        return f"there is no order {number}"
    return f"order {number} is a {order.goods} for {order.paid:.2f} euros, delivered on {order.delivered}"


def refund(order: str, euros: float) -> str:
    """Pay money back to the customer of an order.

    Args:
        order: number of the order.
        euros: how much.
    """
    known = ORDERS.get(order)
    if known is None:
        raise ValueError(f"there is no order {order}")
    if not 0 < euros <= known.paid:
        raise ValueError(f"expected at most the {known.paid:.2f} euros that were paid for order {order}, got {euros}")
    with Path(__file__).with_name("refunds.txt").open("a") as book:
        book.write(f"{order} {euros:.2f}\n")
    return f"{euros:.2f} euros were paid back for order {order}"
