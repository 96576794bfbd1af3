"""Be the compiled passes of a revaluation: over everything, over what a few prices touch, over one portfolio.

All of them take the value of a row from the same table, `unit_base` [base currency, instrument]: minor units of the
base currency for one unit of the instrument. So they agree to the last bit, and as rounded amounts are whole numbers
(exact in float64 below 2^53), a sum that is kept up to date by differences is the sum from nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from stream.constants import fixed_row
from stream.prices import STALE
from stream.rounding import round_minor

VALUE, DAY, DAY_PRICE, UNREALISED, REALISED_TODAY, LOCAL_VALUE, LOCAL_COST = range(7)
ROW_COLUMNS = 7
SHOWN = ("quantity", "price", "value", "value_local", "day_pnl", "day_pnl_pct", "unrealised_pnl", "cost_basis",
         "weight", "prior_close", "day_pnl_price", "contribution")  # fmt: skip
PLACE = np.uint32(16)  # bits of a code in which the second column stands
FIRST = np.uint32(0xFFFF)
EXACT_SUMS = {"reassoc", "nsz"}  # sums of whole numbers are the same in any order: the compiler may use vectors


@njit(cache=True)
def fill_units(unit_value: Any, currency: Any, cross: Any, unit_base: Any) -> None:
    """Fill the whole table of unit values."""
    for b in range(unit_base.shape[0]):
        for s in range(len(unit_value)):
            unit_base[b, s] = unit_value[s] * cross[currency[s], b]


@njit(cache=True, fastmath=EXACT_SUMS, error_model="numpy")
def _value_block(
    first: int, last: int, start: Any, count: Any, base: Any, instrument: Any, quantity: Any, unit_base: Any,
    equity: Any, values: Any,
) -> None:  # fmt: skip
    at = np.uintp(0)
    for p in range(first, last):
        f, n = np.uintp(start[p]), np.uintp(count[p])
        held, amount, unit, value = instrument[f : f + n], quantity[f : f + n], unit_base[base[p]], values[at : at + n]
        total = 0.0
        for k in range(n):
            rounded = round_minor(amount[k] * unit[held[k]])
            value[k] = rounded
            total += rounded
        equity[p] = total
        at += n


@njit(cache=True, error_model="numpy")
def _allocate_block(
    first: int, last: int, start: Any, count: Any, instrument: Any, codes: Any, values: Any, sums: Any
) -> None:
    at = np.uintp(0)
    for p in range(first, last):
        f, n = np.uintp(start[p]), np.uintp(count[p])
        held, value, row = instrument[f : f + n], values[at : at + n], sums[p]
        row[:] = 0.0
        for k in range(n):
            code = codes[held[k]]
            row[code & FIRST] += value[k]
            row[code >> PLACE] += value[k]
        at += n


@njit(cache=True, error_model="numpy")
def value_all(
    first: int, last: int, start: Any, count: Any, base: Any, instrument: Any, quantity: Any, unit_base: Any,
    codes: Any, equity: Any, sums: Any, values: Any,
) -> None:  # fmt: skip
    """Value the portfolios from `first` up to `last`, equity and sums by dimension, a block at a time.

    A block is as many portfolios as fit `values`, which stays in the nearest cache: first its values, in vectors,
    then their sums. It must hold the largest portfolio.
    """
    p = first
    while p < last:
        end, room = p, len(values)
        while end < last and count[end] <= room:
            room -= count[end]
            end += 1
        _value_block(p, end, start, count, base, instrument, quantity, unit_base, equity, values)
        _allocate_block(p, end, start, count, instrument, codes, values, sums)
        p = end


@njit(cache=True, error_model="numpy")
def value_outdated(
    portfolios: int, outdated: Any, start: Any, count: Any, base: Any, instrument: Any, quantity: Any, unit_base: Any,
    codes: Any, equity: Any, sums: Any, values: Any,
) -> None:  # fmt: skip
    """Add up the dimensions of those portfolios anew whose sums are outdated."""
    for p in range(portfolios):
        if outdated[p]:
            _value_block(p, p + 1, start, count, base, instrument, quantity, unit_base, equity, values)
            _allocate_block(p, p + 1, start, count, instrument, codes, values, sums)
            outdated[p] = 0


@njit(cache=True, error_model="numpy")
def value_changes(
    changed: Any, unit_value: Any, currency: Any, cross: Any, unit_base: Any, index_start: Any, index_count: Any,
    holder: Any, quantity: Any, base: Any, turn: int, equity: Any, outdated: Any, seen: Any, pending: Any,
) -> int:  # fmt: skip
    """Move the holders of the instruments `changed` from their unit values in the table to the new ones.

    Marks them pending and their sums by dimension outdated; returns how many they are.
    """
    fresh = np.empty(unit_base.shape[0])
    found = 0
    for s in changed:
        for b in range(len(fresh)):
            fresh[b] = unit_value[s] * cross[currency[s], b]
        for e in range(np.uintp(index_start[s]), np.uintp(index_start[s] + index_count[s])):
            p = holder[e]
            b = base[p]
            equity[p] += round_minor(quantity[e] * fresh[b]) - round_minor(quantity[e] * unit_base[b, s])
            outdated[p] = 1
            pending[p] = 1
            found += seen[p] != turn
            seen[p] = turn
        unit_base[:, s] = fresh
    return found


@njit(cache=True, error_model="numpy")
def mark_holders(
    changed: Any, index_start: Any, index_count: Any, holder: Any, turn: int, seen: Any, pending: Any
) -> int:
    """Mark who holds one of `changed` as pending; return how many had not been seen in this turn."""
    found = 0
    for s in changed:
        for e in range(np.uintp(index_start[s]), np.uintp(index_start[s] + index_count[s])):
            p = holder[e]
            pending[p] = 1
            found += seen[p] != turn
            seen[p] = turn
    return found


@njit(cache=True, error_model="numpy")
def mark_currencies(portfolios: int, currencies: Any, moved: int, turn: int, seen: Any, pending: Any) -> int:
    """Mark who holds or counts in one of the currencies of the mask `moved`; return how many are new to this turn."""
    found = 0
    for p in range(portfolios):
        if currencies[p] & np.uint64(moved):
            pending[p] = 1
            found += seen[p] != turn
            seen[p] = turn
    return found


@njit(cache=True, error_model="numpy")
def sum_at_close_rates(
    portfolios: int, start: Any, count: Any, base: Any, zone: Any, instrument: Any, quantity: Any, unit_value: Any,
    currency: Any, cross_close: Any, state: Any, unit_base: Any, totals: Any,
) -> None:  # fmt: skip
    """Fill float64 [portfolio, (value at the rates of the prior close, gross value, gross value that is stale)]."""
    for p in range(portfolios):
        cross, b = cross_close[zone[p]], base[p]
        at_close = gross = stale = 0.0
        for k in range(np.uintp(start[p]), np.uintp(start[p] + count[p])):
            s = instrument[k]
            at_close += round_minor(quantity[k] * unit_value[s] * cross[currency[s], b])
            value = abs(round_minor(quantity[k] * unit_base[b, s]))
            gross += value
            if state[s] == STALE:
                stale += value
        totals[p, 0], totals[p, 1], totals[p, 2] = at_close, gross, stale


@njit(cache=True)
def value_rows(
    start: int, base: int, instrument: Any, quantity: Any, opening_quantity: Any, traded: Any, traded_base: Any,
    cost_local: Any, cost_base: Any, realised: Any, unit_value: Any, prior_close: Any, factor: Any, cash: Any,
    currency: Any, cross_close: Any, scale: Any, unit_base: Any, rows: Any,
) -> None:  # fmt: skip
    """Fill the rows of one portfolio, whole minor units: float64 [position, VALUE to LOCAL_COST]."""
    for i in range(len(rows)):
        k = start + i
        s = instrument[k]
        c, cross = currency[s], cross_close[currency[s], base]
        opening, moved, moved_at_close, cost, profit = fixed_row(
            k, s, opening_quantity, traded, traded_base, cost_base, realised,
            prior_close, factor, cross, scale[base],
        )  # fmt: skip
        value, local = round_minor(quantity[k] * unit_base[base, s]), quantity[k] * unit_value[s]
        rows[i, VALUE] = value
        rows[i, DAY] = value - opening - moved
        rows[i, DAY_PRICE] = round_minor(local * cross) - opening - moved_at_close
        rows[i, UNREALISED] = 0.0 if cash[s] else value - cost
        rows[i, REALISED_TODAY] = profit
        rows[i, LOCAL_VALUE] = round_minor(local * scale[c])
        rows[i, LOCAL_COST] = round_minor(cost_local[k] * scale[c])


@njit(cache=True)
def show_rows(
    start: int, base: int, rows: Any, equity: float, opening: float, instrument: Any, quantity: Any, price: Any,
    prior_close: Any, currency: Any, scale: Any, shown: Any,
) -> None:  # fmt: skip
    """Fill the figures of the rows as documents show them: float64 [position, figure], in the order of `SHOWN`."""
    per_opening = 100.0 / abs(opening) if opening else 0.0
    for i in range(len(rows)):
        k = start + i
        s = instrument[k]
        value, day, digits = rows[i, VALUE], rows[i, DAY], scale[currency[s]]
        shown[i, 0] = quantity[k]
        shown[i, 1] = price[s]
        shown[i, 2] = value / scale[base]
        shown[i, 3] = rows[i, LOCAL_VALUE] / digits
        shown[i, 4] = day / scale[base]
        shown[i, 5] = 100.0 * day / abs(value - day) if value != day else 0.0
        shown[i, 6] = rows[i, UNREALISED] / scale[base]
        shown[i, 7] = rows[i, LOCAL_COST] / digits
        shown[i, 8] = value / equity if equity else 0.0
        shown[i, 9] = prior_close[s] if prior_close[s] == prior_close[s] else 0.0
        shown[i, 10] = rows[i, DAY_PRICE] / scale[base]
        shown[i, 11] = day * per_opening
