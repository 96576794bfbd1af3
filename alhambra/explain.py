"""Show where a figure comes from: ask the API as a client does, and print the answer as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from alhambra.errors import CannotStart
from alhambra.running import Address, read_running

TIMEOUT_S = 15.0
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """Hold what to explain, and whom to ask: `url` and `token`, or the platform of a data folder."""

    field: str
    symbol: str | None = None
    portfolio: str | None = None
    url: str | None = None
    token: str | None = None
    data: Path | None = None


async def ask(question: Question) -> Answer:
    """Return the provenance of a figure. Raises `CannotStart` with what the API says where it refuses."""
    running = None if question.data is None else read_running(question.data)
    url = question.url or (running.url if running else None)
    if url is None:
        raise CannotStart(f"Nothing runs in {question.data}: start it with alhambra up, or give --url and --token.")
    wanted = {"field": question.field, "symbol": question.symbol, "portfolioId": question.portfolio}
    try:
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S) as client:
            token = question.token or await _sign_in(client, running, question.portfolio is not None)
            answer = await client.get(
                "/api/portfolio/explain",
                params={name: value for name, value in wanted.items() if value is not None},
                headers={"Authorization": f"Bearer {token}"},
            )
    except httpx.HTTPError as error:
        raise CannotStart(f"{url} does not answer: {error!r}") from error
    return _content(answer)


async def _sign_in(client: httpx.AsyncClient, running: Address | None, any_portfolio: bool) -> str:
    """Sign in as the first demonstration client, or as whoever may see any portfolio."""
    role = "compliance" if any_portfolio else "client"
    login = next((one for one in running.logins if one["role"] == role), None) if running else None
    if login is None:
        raise CannotStart("There is no demonstration login: give an access token with --token.")
    answer = await client.post("/api/auth/login", json={"email": login["email"], "password": login["password"]})
    return str(_content(answer)["token"])


def _content(answer: httpx.Response) -> Answer:
    try:
        content: Answer = answer.json()
    except ValueError as error:
        raise CannotStart(f"{answer.url.copy_with(query=None)} answers {answer.status_code}, and no JSON.") from error
    if answer.status_code != httpx.codes.OK:
        raise CannotStart(content.get("error", f"The API answers {answer.status_code}."))
    return content


def show(answer: Answer, console: Console) -> bool:
    """Print the answer as trees, one a portfolio, and return whether every figure is its recomputation."""
    for one in answer["portfolios"]:
        console.print(portfolio_tree(answer, one))
    if answer["together"] is not None:
        console.print(together_tree(answer["together"]))
    return all(one["matches"] for one in answer["portfolios"])


def portfolio_tree(answer: Answer, one: Answer) -> Tree:
    """Return the provenance of a figure of one portfolio."""
    name = answer["field"] if answer["symbol"] is None else f"{answer['field']} of {answer['symbol']}"
    portfolio, valuation, formula = one["portfolio"], one["valuation"], answer["formula"]
    tree = Tree(_headline(f"{name} in {portfolio['name']} ({portfolio['baseCurrency']})", one))
    if one["shown"] is None:
        return tree
    tree.add(Text(formula["symbols"])).add(Text(formula["words"], style="dim"))
    tree.add(
        f"valuation {valuation['epoch']}/{valuation['seq']} of {valuation['computedAt']}, positions version "
        f"{valuation['positionsVersion']} of {valuation['positionsAt']}, day since {valuation['dayBegan']}"
    )
    for term in one["terms"]:
        tree.add(_term(term))
    for rate in one["rates"]:
        quotes = ", ".join(f"{quote['symbol']} {quote['price']} at {quote['at']}" for quote in rate["quotes"])
        tree.add(
            f"1 {rate['currency']} = {rate['now']} now, {rate['atClose']} at the prior close ({quotes or 'no quote'})"
        )
    for row in one["rows"]:
        branch = tree.add(_row_line(row, formula))
        if answer["symbol"] is not None:
            for line, leaves in _details(row):
                leaf = branch.add(Text(line))
                for text in leaves:
                    leaf.add(Text(text, style="dim"))
    return tree


def together_tree(together: Answer) -> Tree:
    """Return how several portfolios make one figure."""
    tree = Tree(
        f"together: {together['shown']} {together['currency']}" if together["shown"] is not None else "together"
    )
    tree.add(Text(together["words"], style="dim"))
    for code, rate in together["rates"].items():
        tree.add(f"1 {code} = {rate} {together['currency']}")
    return tree


def _headline(name: str, one: Answer) -> Text:
    if one["shown"] is None:
        return Text(f"{name}: not held")
    mark = ("recomputed to the same", "green") if one["matches"] else (f"RECOMPUTED {one['recomputed']}", "bold red")
    return Text.assemble((f"{name}: ", "bold"), (str(one["shown"]), "bold"), "  ", mark)


def _term(term: Answer) -> Text:
    sign = "+" if term["sign"] > 0 else "-"
    exact = "" if Decimal(term["beforeRounding"]) == Decimal(term["rounded"]) else f" (before rounding {_few(term)})"
    return Text.assemble(f"{sign} {term['symbols']} = {term['rounded']}{exact}  ", (term["words"], "dim"))


def _few(term: Answer) -> str:
    return f"{Decimal(term['beforeRounding']):.8f}"


def _row_line(row: Answer, formula: Answer) -> Text:
    signed = [(term["sign"], Decimal(row["terms"][term["name"]]["rounded"])) for term in formula["terms"]]
    sums = " ".join(f"{'+' if sign > 0 else '-'} {amount:f}" for sign, amount in signed)
    total = sum((sign * amount for sign, amount in signed), Decimal(0))
    line = f"{row['quantity']} at {row['price']['value']} {row['currency']}"
    return Text.assemble((f"{row['symbol']:<10}", "bold"), line, f"   {sums} = {total:f}" if signed else "")


def _details(row: Answer) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines about one row, each with what stands under it."""
    price, close, traded, cost = row["price"], row["priorClose"], row["traded"], row["cost"]
    age = "" if price["ageMs"] is None else f", {price['ageMs'] / 1000:.1f} s old"
    yield f"price {price['value']} ({price['state']}{age}, from {price['source'] or 'no feed'}), at {price['at']}", []
    adjusted = "".join(f", adjusted for the split {one['ratio']} of {one['exDate']}" for one in close["splits"])
    yield f"prior close {close['value']} of {close['date'] or 'an unknown date'}{adjusted}", []
    yield f"rate {row['rate']['now']} now, {row['rate']['atClose']} at the prior close; factor {row['factor']}", []
    yield f"held at the prior close: {row['openingQuantity']}", []
    booked = [
        f"{one['type']} {one['reference']} at {one['at']}: {one['quantity'] or ''} "
        f"{one['amount']} {one['currency']}, rate {one['rateToBase'] or 'unknown'}"
        for one in traded["bookings"]
    ]
    yield f"traded since: {traded['local']} {row['currency']}, {traded['base'] or 'unknown'} in base currency", booked
    lots = [f"lot {one['reference']} of {one['openedAt']}: {one['quantity']} for {one['cost']}" for one in cost["lots"]]
    if not cost["lotsAddUp"]:
        lots.append("the lots are not all of what is held: bookings are missing")
    average = "-" if cost["average"] is None else f"{Decimal(cost['average']):.6f}"
    yield f"average cost {average}; cost {cost['local']} {row['currency']}, {cost['base']} in base", lots
