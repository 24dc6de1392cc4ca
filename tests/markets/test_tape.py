"""The tape adds up to the accounts, its quotes are those that lost, and it can be exported; on random play."""

import dataclasses
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from diffgames.cli import main
from diffgames.execution import run_study
from diffgames.markets import tape
from diffgames.markets.depth_book import liquidation_value
from diffgames.markets.ecn_memory_fit import fit_memory
from diffgames.markets.synthetic import synthetic_level2
from toy_market import market_builder, random_play


@pytest.fixture(scope="module")
def played():
    """A market with two exchanges with memory, its final states and its record, [step, episode, …]."""
    exchange = fit_memory(synthetic_level2(seconds=1500, seed=3))[0]
    market = market_builder(exchange)(exchanges=2, probability=0.6, steps=25, mark="book")
    states, (_, record, _) = random_play(market, jax.random.key(4), episodes=3)
    return market, states, jax.tree.map(lambda leaf: np.asarray(leaf).swapaxes(0, 1), record)


@pytest.fixture(scope="module")
def arrays(played):
    market, _, record = played
    return tape.dataset(record, market.provider_supertype, market.taker_supertype, synthetic_level2(seconds=50))


@pytest.fixture(scope="module")
def tables(arrays):
    return tape.tables(arrays)


@pytest.mark.parametrize("role", ["provider", "taker"])
def test_trades_add_up_to_the_accounts(role, played, tables):
    """Summed lot by lot from the table of trades alone: every agent's final inventory and cash, and the exchanges'."""
    _, states, _ = played
    trades, account = tables["trades"], getattr(states, f"{role}s")
    signed = trades.side * trades.lots
    assert {"taker", "hedge"} == set(trades.kind) and len(trades) > 200
    for agent in range(account.inventory.shape[1]):
        name = f"{role}_{agent}"
        for episode in range(3):
            here = trades.episode == episode
            own, served = here & (trades.agent == name), here & (trades.venue == name)
            lots = signed[own].sum() - signed[served].sum()
            cash = (trades.price * signed)[served].sum() - (trades.price * signed)[own].sum()
            assert lots == pytest.approx(float(account.inventory[episode, agent]), abs=1e-4)
            assert cash == pytest.approx(float(account.cash[episode, agent]), abs=2e-3)
            last = tables["accounts"].query(f"agent == '{name}' and episode == {episode}").iloc[-1]
            assert (last.inventory, last.cash) == (pytest.approx(lots, abs=1e-9), pytest.approx(cash, abs=1e-9))
    for exchange in range(2):
        at = trades.venue == f"exchange_{exchange}"
        lots = -signed[at].groupby(trades.episode[at]).sum()
        np.testing.assert_allclose(lots, np.asarray(states.exchanges.inventory)[lots.index, exchange], atol=1e-4)


def test_the_parts_of_the_pnl_are_the_market_s_own_and_add_up_to_wealth(played, tables):
    _, states, record = played
    accounts = tables["accounts"]
    book = jax.tree.map(lambda side: jnp.sum(side, axis=1), states.books)
    last = np.asarray(record.next_price)
    for agent, rows in accounts.groupby("agent"):
        role, number = str(agent).split("_")
        spread, drift, hedge, penalty = (
            rows.pivot(index="step", columns="episode", values=name).to_numpy()
            for name in ("pnl_spread", "pnl_inventory", "hedge_cost", "pnl_penalty")
        )
        if role == "provider":
            np.testing.assert_allclose(spread - hedge, record.pnl_spread[:, :, int(number)], atol=1e-3)
            np.testing.assert_allclose(drift, record.pnl_inventory[:, :, int(number)], atol=1e-3)
        else:
            np.testing.assert_allclose(spread + drift + penalty, record.taker_pnl[:, :, int(number)], atol=1e-3)
        final = rows.groupby("episode").last()
        wealth = final.cash + final.inventory * last[-1]
        start = record.price[0]  # nothing is held then
        assert np.isfinite(start).all()
        np.testing.assert_allclose((spread + drift - hedge).sum(axis=0), wealth, atol=1e-6)
        held = jnp.asarray(final.inventory.to_numpy(), jnp.float32)[:, None]
        value = np.asarray(jax.vmap(liquidation_value)(book, held))[:, 0]
        np.testing.assert_allclose(wealth + penalty.sum(axis=0), final.cash + value, atol=5e-3)


def test_a_trade_is_at_the_best_quote_and_the_others_lost_it(tables):
    takers = tables["trades"].query("kind == 'taker'").reset_index()
    quotes = takers.filter(regex="^quote_(provider|exchange)_.$")
    chosen = quotes.to_numpy()[np.arange(len(takers)), [list(quotes).index(f"quote_{v}") for v in takers.venue]]
    best = np.where(takers.side > 0, quotes.min(axis=1), quotes.max(axis=1))
    np.testing.assert_allclose(chosen, best, atol=2e-3)  # a tie's hair
    with_provider = takers.venue.str.startswith("provider").to_numpy()
    np.testing.assert_allclose(takers.price[with_provider], chosen[with_provider], atol=1e-5)
    assert quotes.isna().to_numpy().any() and (quotes.notna().sum(axis=1) > 1).any()


def test_books_are_in_order_and_money_is_ticks_times_the_tick(arrays, tables):
    books = tables["books"]
    best = books[books.level == 1].pivot(index=["episode", "step", "venue"], columns="side", values="price")
    assert (best.ask > best.bid).all() and (books.lots > 0).all()
    asks = books[books.side == "ask"].groupby(["episode", "step", "venue"]).price
    assert (asks.diff().dropna() > 0).all()
    trades, tick = tables["trades"], arrays.attrs["tick_currency"]
    assert tick == 0.25  # of the synthetic data
    opening = arrays.attrs["opening_currency"] / tick
    assert opening == round(opening)  # prices lie on the lattice of ticks
    np.testing.assert_allclose(trades.price_currency - arrays.attrs["opening_currency"], trades.price * 0.25)
    np.testing.assert_allclose(trades.price_bp, 1e4 * 0.25 * trades.price / arrays.attrs["opening_currency"])


def test_no_more_episodes_are_kept_than_memory_holds(played, monkeypatch):
    market, _, record = played
    monkeypatch.setattr(tape, "MEMORY", 1)
    kept = tape.dataset(record, market.provider_supertype, market.taker_supertype)
    assert kept.attrs["episodes_kept"] == kept.sizes["episode"] == 1 and kept.attrs["episodes_played"] == 3
    assert "price_currency" not in tape.tables(kept)["trades"]


def test_lots_are_named_and_money_is_theirs(played, tables):
    """A hundred shares a lot: sizes in shares, money a hundred times as much, prices as they are."""
    market, _, record = played
    data = dataclasses.replace(synthetic_level2(seconds=50), lot=100.0, size_name="shares")
    named = tape.tables(tape.dataset(record, market.provider_supertype, market.taker_supertype, data))
    trades, accounts = named["trades"], named["accounts"]
    np.testing.assert_allclose(trades.shares, 100 * trades.lots)
    np.testing.assert_allclose(named["books"].shares, 100 * named["books"].lots)
    np.testing.assert_allclose(accounts.inventory_shares, 100 * accounts.inventory)
    np.testing.assert_allclose(accounts.cash_currency, 100 * tables["accounts"].cash_currency)
    np.testing.assert_allclose(trades.price_currency, tables["trades"].price_currency)
    assert "shares" not in tables["trades"]


STUDY = """
from dataclasses import dataclass

import xarray

from diffgames.studies import Study, StudyResult


@dataclass(frozen=True)
class Config:
    pass


def run(config, context):
    return StudyResult({{}}, arrays={{"{name}": xarray.load_dataset("{path}")}})


STUDY = Study(name="played", source="-", shows="-", config=Config, run=run, headline={{}}, uncertified="a test")
"""


def run_with(arrays: xr.Dataset, place: Path, name: str = "tape") -> Path:
    """A finished run in a new folder under `place` that keeps the arrays under that name."""
    arrays.to_netcdf(place / "given.nc", engine="h5netcdf")
    (place / "study.py").write_text(STUDY.format(name=name, path=place / "given.nc"))
    return run_study(f"{place / 'study.py'}:STUDY", out=place / "run", quiet=True).folder


@pytest.fixture(scope="module")
def folder(arrays, tmp_path_factory):
    """A finished run folder that holds the tape."""
    return run_with(arrays, tmp_path_factory.mktemp("runs"))


def test_export_writes_what_the_tables_hold(folder, tables, tmp_path, capsys):
    assert main(["export", str(folder), "--out", str(tmp_path / "out")]) == 0
    written = sorted(Path(line) for line in capsys.readouterr().out.split())
    assert [path.stem for path in written] == sorted(tape.TABLES)
    for path in written:
        pd.testing.assert_frame_equal(pd.read_csv(path), tables[path.stem], check_dtype=False)


def test_parquet_holds_the_same_tables_to_the_last_bit(folder, tables, tmp_path):
    words = ["export", str(folder), "--format", "parquet", "--out", str(tmp_path / "parquet")]
    assert main(words) == 0
    for name, table in tables.items():
        read = pd.read_parquet(tmp_path / "parquet" / f"{name}.parquet")
        pd.testing.assert_frame_equal(read, table, check_dtype=False, check_exact=True)


@pytest.mark.parametrize("how", ["no trades", "no run", "format", "exists", "half a tape", "damaged"])
def test_export_refuses_in_one_line(how, folder, tmp_path, capsys):
    run, out, form = tmp_path / "none", tmp_path / "out", "xlsx" if how == "format" else "csv"
    if how in ("no trades", "half a tape"):
        run = run_with(xr.Dataset({"x": 1.0}), tmp_path, "other" if how == "no trades" else "tape")
    elif how != "no run":
        run = shutil.copytree(folder, tmp_path / "run")
    if how == "exists":
        out.mkdir()
    elif how == "damaged":
        path = run / "arrays" / "tape.nc"
        path.write_bytes(path.read_bytes()[:-100])
    assert main(["export", str(run), "--format", form, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1 and "Traceback" not in error
    assert not list(tmp_path.glob(".export*")) and (how == "exists") == out.exists()
