"""Strict numerics for every test: float64 by default, no silent promotion of types or ranks, warnings are errors.

With JAX_ENABLE_X64=0 the suite runs in float32, as learning and simulation do for users who never asked for more.
"""

import gc
import os
from pathlib import Path

# XLA's thread pool is sized when JAX starts: with several virtual CPU devices on few cores, queued collectives
# deadlock in a small pool. Set before anything imports jax.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

from diffgames.runtime import NO_CALLBACK, compilation_cache, compiler_flags

for name, value in NO_CALLBACK.items():  # read when equinox is imported
    os.environ.setdefault(name, value)
os.environ["XLA_FLAGS"] = compiler_flags()  # read when the first program is compiled
jax.config.update("jax_enable_x64", os.environ.get("JAX_ENABLE_X64", "1").lower() in ("1", "true"))
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
if (cache := compilation_cache()) is not None:
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

LONGEST = {
    "test_otc_market", "test_kill", "test_linear_quadratic_studies", "test_intervals", "test_verify", "test_examples"
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """Files that take minutes start first, so that no worker waits at the end for another's (Makefile, WORKERS)."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(autouse=True, scope="module")
def few_memory_maps():
    """Forget compiled programs once they hold many memory maps: a process may have some 65,000, then it crashes."""
    yield
    maps = Path("/proc/self/maps")
    if maps.is_file() and maps.read_bytes().count(b"\n") > 15_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data lying beside the repository; skips where there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data files, which are not part of the repository (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def exchange():
    """An exchange agent fitted to synthetic level-2 data (see `toy_market`)."""
    from toy_market import fitted_exchange

    return fitted_exchange()


@pytest.fixture(scope="session")
def build_market(exchange):
    """Factory of small markets on that exchange (see `toy_market.market_builder`)."""
    from toy_market import market_builder

    return market_builder(exchange)
