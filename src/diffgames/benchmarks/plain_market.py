"""The over-the-counter market as one would first write it: objects, loops, one agent after the other.

An independent reading of Vadori et al., Section 2.2.2, in plain Python. It is the twin that `otc-rollout` is timed
against, and the tests compare its accounts with the compiled market's, trade by trade. It takes the step's random
inputs (the book, the exchange's variation, the order of preference among tied venues) from outside.
"""

from dataclasses import dataclass, field


@dataclass
class PlainProvider:
    """Quotes around the exchange and hedges there."""

    inventory: float = 0.0
    cash: float = 0.0
    spread: float = 0.0
    skew: float = 0.0
    hedge: float = 0.0


@dataclass
class PlainTaker:
    """Trades `quantity` at the best venue it is connected to; `venues` lists providers then exchange."""

    quantity: float
    venues: list[int]
    inventory: float = 0.0
    cash: float = 0.0


@dataclass
class PlainMarket:
    """One exchange; `bid` and `ask` map a tick to the volume resting there."""

    providers: list[PlainProvider]
    takers: list[PlainTaker]
    bid: dict[int, float] = field(default_factory=dict)
    ask: dict[int, float] = field(default_factory=dict)
    granularity: float = 0.2

    @property
    def mid(self) -> float:
        """Half the sum of the best prices."""
        return (min(self.ask) + max(self.bid)) / 2

    def average_price(self, side: str, quantity: float) -> float:
        """Average price of trading `quantity` with the asks ("buy") or the bids ("sell"), the book left as it is."""
        remaining, cash = quantity, 0.0
        book = self.ask if side == "buy" else self.bid
        for tick in sorted(book, reverse=side == "sell"):
            taken = min(book[tick], remaining)
            remaining -= taken
            cash += taken * tick
            if remaining <= 0:
                break
        return cash / quantity

    def execute(self, side: str, quantity: float) -> tuple[float, float]:
        """Send a market order; returns the quantity filled and the cash exchanged."""
        remaining, cash = quantity, 0.0
        book = self.ask if side == "buy" else self.bid
        for tick in sorted(book, reverse=side == "sell"):
            if remaining <= 0:
                break
            taken = min(book[tick], remaining)
            remaining -= taken
            cash += taken * tick
            book[tick] -= taken
            if book[tick] <= 0:
                del book[tick]
        return quantity - remaining, cash

    def quote(self, provider: PlainProvider, side: str, quantity: float) -> float:
        """The provider's price for a taker that buys or sells, equation (5)."""
        half = (self.average_price("buy", quantity) - self.average_price("sell", quantity)) / 2
        spread = min(self.ask) - max(self.bid)
        sign = 1.0 if side == "buy" else -1.0
        price = self.mid + sign * (half + provider.spread * spread / 2) + provider.skew * spread
        return round(price / self.granularity) * self.granularity

    def step(
        self, tweaks: list[tuple[float, float, float]], decisions: list[str | None], preference: list[list[float]]
    ) -> None:
        """Quotes, takers' trades, market orders, hedges. `preference[taker][venue]` breaks ties, the largest wins."""
        for provider, (spread, skew, hedge) in zip(self.providers, tweaks, strict=True):
            provider.spread, provider.skew, provider.hedge = spread, skew, hedge
        hedges = [-provider.hedge * provider.inventory for provider in self.providers]
        orders = []
        quoted = {}
        for index, (taker, side) in enumerate(zip(self.takers, decisions, strict=True)):
            if side is None or not taker.venues:
                continue
            if (side, taker.quantity) not in quoted:
                quoted[side, taker.quantity] = [
                    *(self.quote(provider, side, taker.quantity) for provider in self.providers),
                    self.average_price(side, taker.quantity),
                ]
            prices, sign = quoted[side, taker.quantity], 1.0 if side == "buy" else -1.0
            best = min(sign * prices[venue] for venue in taker.venues)
            tied = [venue for venue in taker.venues if sign * prices[venue] <= best + 1e-3]
            orders.append((taker, side, max(tied, key=lambda venue: preference[index][venue]), sign * best))
        for taker, side, venue, price in orders:
            sign = 1.0 if side == "buy" else -1.0
            if venue < len(self.providers):
                provider = self.providers[venue]
                provider.inventory -= sign * taker.quantity
                provider.cash += sign * taker.quantity * price
                taker.inventory += sign * taker.quantity
                taker.cash -= sign * taker.quantity * price
        for taker, side, venue, _ in orders:
            if venue == len(self.providers):
                self._settle(taker, side, taker.quantity)
        for provider, hedge in zip(self.providers, hedges, strict=True):
            if hedge != 0:
                self._settle(provider, "buy" if hedge > 0 else "sell", abs(hedge))

    def vary(self, bid: dict[int, float], ask: dict[int, float]) -> None:
        """Apply the exchange agent's signed volume variation."""
        for book, variation in ((self.bid, bid), (self.ask, ask)):
            for tick, change in variation.items():
                volume = book.get(tick, 0.0) + change
                if volume > 0:
                    book[tick] = volume
                else:
                    book.pop(tick, None)

    def _settle(self, agent: PlainProvider | PlainTaker, side: str, quantity: float) -> None:
        filled, cash = self.execute(side, quantity)
        sign = 1.0 if side == "buy" else -1.0
        agent.inventory += sign * filled
        agent.cash -= sign * cash
