"""Read what is asked of alerts, strictly: an unknown field is refused, and so is a rule that could never be meant."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from db.alert_rules import Change, Wish

Direction = Literal["above", "below"]
Repeat = Literal["once", "each_time"]
Threshold = Annotated[Decimal, Field(ge=-(10**14), le=10**14, decimal_places=8, allow_inf_nan=False)]
OF_INSTRUMENTS = ("price", "price_change_pct")


class NewRule(BaseModel):
    """Hold a rule to be made: of an instrument by its symbol, or of a portfolio by its id."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["price", "price_change_pct", "day_pnl", "day_pnl_pct", "total_equity", "stale"]
    instrument: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    portfolio: UUID | None = None
    direction: Direction = "above"
    threshold: Threshold
    repeat: Repeat = "once"

    @model_validator(mode="after")
    def _means_something(self) -> NewRule:
        if (self.instrument is None) == (self.portfolio is None):
            raise ValueError("name an instrument or a portfolio, one of them")
        if self.kind in OF_INSTRUMENTS and self.instrument is None:
            raise ValueError(f"{self.kind} is of an instrument")
        if self.kind not in (*OF_INSTRUMENTS, "stale") and self.portfolio is None:
            raise ValueError(f"{self.kind} is of a portfolio")
        if self.kind == "price" and self.threshold <= 0:
            raise ValueError("a price is above 0")
        if self.kind == "stale":
            self._check_stale()
        return self

    def _check_stale(self) -> None:
        if self.direction != "above" or self.threshold <= 0:
            raise ValueError("what is stale is so for more than 0 seconds, or more than a share of 0: above")
        if self.portfolio is not None and self.threshold > 1:
            raise ValueError("the stale share of a portfolio is a fraction, 1 at most")

    @property
    def wish(self) -> Wish:
        """Return the rule as the database takes it."""
        return Wish(self.kind, self.instrument, self.portfolio, self.direction, self.threshold, self.repeat)


class RuleChange(BaseModel):
    """Hold what is to be changed of a rule; what it is about stays."""

    model_config = ConfigDict(extra="forbid")

    direction: Direction | None = None
    threshold: Threshold | None = None
    repeat: Repeat | None = None
    active: StrictBool | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> RuleChange:
        if not self.model_fields_set:
            raise ValueError("say what to change: direction, threshold, repeat or active")
        return self

    @property
    def change(self) -> Change:
        """Return the change as the database takes it."""
        return Change(self.direction, self.threshold, self.repeat, self.active)


class Acknowledgement(BaseModel):
    """Hold up to which alert, by its number, the user has seen all."""

    model_config = ConfigDict(extra="forbid")

    seq: Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
