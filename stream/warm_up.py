"""Have the compiled passes ready before the first record: by far the longest step of a worker's start."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from analytics.revaluation import REFERENCE_CURRENCY
from stream.messages import PortfolioPositions, Position, QuoteBatch, decode_quotes, encode_quotes
from stream.prices import InstrumentSpec, PriceTable
from stream.processor import Processor
from stream.rounds import Round


def warm_up() -> None:
    """Value one portfolio in every way there is; takes 1.5 s, and 6 s where nothing is compiled yet."""
    spec = InstrumentSpec(0, "WARM", "", "equity", "", "", REFERENCE_CURRENCY, None, 1.0, 1.0, 0)
    processor = Processor(PriceTable({REFERENCE_CURRENCY: 2}, [spec]))
    one = Decimal(1)
    held = (Position(0, one, one, one, one, Decimal(0)),)
    for version in (1, 2):
        processor.apply_positions(PortfolioPositions("warm", version, REFERENCE_CURRENCY, held, 1, 1), 0, 1)
    processor.book.compact()
    processor.revalue(1)
    processor.revaluation.pace.change_ns = 0.0  # follow what has changed
    price = np.ones(1)
    quote = QuoteBatch("warm", 1, np.zeros(1, np.uint32), price, price, price, price, np.ones(1, np.int64))
    processor.apply_quotes(decode_quotes(encode_quotes(quote)), 1)
    processor.revalue(1)
    turns = Round(1, 0)
    for index in turns.due(turns.first(1), processor.revaluation.pending[:1], 1).tolist():
        processor.take(index, 1)
    processor.totals()
