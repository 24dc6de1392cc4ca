"""How a process that runs diffgames sets JAX up: float64 available, compiled programs kept, logs quiet.

Only entry points (the command line, benchmarks, tests) call this. Importing the library changes no global setting.
"""

import hashlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path


def machine_tag() -> str:
    """Names the instruction set: compiled programs must not travel between unlike machines that share a home."""
    cpu = Path("/proc/cpuinfo")
    features = platform.processor()
    if cpu.is_file():
        lines = cpu.read_text(errors="replace").splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), features)
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"


def compilation_cache() -> Path | None:
    """Folder of the persistent compilation cache, in the user's cache folder; None where that cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "diffgames" / "jax" / machine_tag()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def compiler_flags() -> str:
    """XLA's flags: the user's, and LLVM's second level of optimisation unless the user states a level.

    The default, the third, takes a third longer to compile a market and makes it no faster; the order book gains 5%.
    """
    stated = os.environ.get("XLA_FLAGS", "")
    level = "--xla_backend_optimization_level"
    return stated if level in stated else f"{stated} {level}=2".strip()


# A program that can raise from inside calls Python back, and XLA keeps no such program: errors become NaN instead,
# which every solver and headline is checked for.
NO_CALLBACK = {"EQX_ON_ERROR": "nan"}


def prepare_jax(compile_fast: bool = True) -> None:
    """Make float64 available and keep compiled programs; what the user has set stands.

    Without `compile_fast` programs are compiled as XLA does by default: for long steady work, as in benchmarks.
    """
    settings = {"JAX_ENABLE_X64": "1", "TF_CPP_MIN_LOG_LEVEL": "2", **NO_CALLBACK}
    if compile_fast:
        os.environ["XLA_FLAGS"] = compiler_flags()
    cache = compilation_cache()
    if cache is not None:
        settings["JAX_COMPILATION_CACHE_DIR"] = str(cache)
        # The default of one second stores none of our functions.
        settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        # Queued collectives over several virtual CPU devices deadlock in a thread pool of few threads.
        settings["NPROC"] = "16"
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    if "jax" in sys.modules:  # already imported: the environment comes too late
        import jax

        jax.config.update("jax_enable_x64", os.environ["JAX_ENABLE_X64"].lower() in ("1", "true"))


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that numbers depend on."""
    libraries = ("jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "scikit-learn")
    installed = {name: importlib.metadata.version(name) for name in ("diffgames", *libraries)}
    return {"python": platform.python_version(), **installed}
