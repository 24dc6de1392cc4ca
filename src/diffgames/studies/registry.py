"""Finding a study: by its registered name, by the entry points of other packages, or in the user's own file."""

import importlib
import importlib.util
import sys
import traceback
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from diffgames.errors import InvalidInput, suggestion
from diffgames.studies.study import Study

STUDIES: dict[str, str] = {
    "stackelberg": "diffgames.studies.stackelberg:STUDY",
    "stackelberg-discrete": "diffgames.studies.stackelberg_discrete:STUDY",
    "typed-lq": "diffgames.studies.typed_lq:STUDY",
    "regime-lq": "diffgames.studies.regime_lq:STUDY",
    "otc-market": "diffgames.studies.otc_market:STUDY",
    "taker-spectrum": "diffgames.studies.taker_spectrum:STUDY",
    "calibration-1": "diffgames.studies.calibration:CALIBRATION_1",
    "calibration-2": "diffgames.studies.calibration:CALIBRATION_2",
    "calibration-3": "diffgames.studies.calibration:CALIBRATION_3",
    "calibration-4": "diffgames.studies.calibration:CALIBRATION_4",
    "calibration-ablation": "diffgames.studies.calibration_ablation:STUDY",
    "calibrate": "diffgames.studies.calibrate:STUDY",
    "shared-equilibria": "diffgames.studies.shared_equilibria:STUDY",
    "exchange-fit": "diffgames.studies.exchange_fit:STUDY",
    "round-trips": "diffgames.studies.round_trips:STUDY",
    "neural-exchange": "diffgames.studies.neural_exchange:STUDY",
    "flow-response": "diffgames.studies.flow_response:STUDY",
    "emergent-behaviour": "diffgames.studies.emergent_behaviour:STUDY",
    "market-maker": "diffgames.studies.market_maker:STUDY",
    "market-maker-survival": "diffgames.studies.market_maker_survival:STUDY",
    "market-maker-real": "diffgames.studies.market_maker_real:STUDY",
    "regime-risk": "diffgames.studies.regime_risk:STUDY",
    "replay": "diffgames.studies.replay:STUDY",
    "systemic-risk": "diffgames.studies.systemic_risk:STUDY",
    "propagation-of-chaos": "diffgames.studies.propagation_of_chaos:STUDY",
    "crowd-flocking": "diffgames.studies.crowd_flocking:STUDY",
    "portfolio": "diffgames.studies.portfolio:STUDY",
    "crowd-aversion": "diffgames.studies.crowd_aversion:STUDY",
    "crowd-common-noise": "diffgames.studies.crowd_common_noise:STUDY",
    "crowd-methods": "diffgames.studies.crowd_methods:STUDY",
    "large-crowd": "diffgames.studies.large_crowd:STUDY",
    "alpha-decay": "diffgames.studies.alpha_decay:STUDY",
    "mean-field-benchmark": "diffgames.studies.mean_field_benchmark:STUDY",
    "game-components": "diffgames.studies.game_components:STUDY",
    "cvar": "diffgames.studies.cvar:STUDY",
    "mean-field": "diffgames.studies.mean_field:STUDY",
    "mean-field-ergodic": "diffgames.studies.mean_field_ergodic:STUDY",
    "typed-market": "diffgames.studies.typed_market:STUDY",
    "trade-crowding": "diffgames.studies.trade_crowding:STUDY",
    "mean-field-learning": "diffgames.studies.mean_field_learning:STUDY",
    "reach-avoid": "diffgames.studies.reach_avoid:STUDY",
    "games-in-games": "diffgames.studies.games_in_games:STUDY",
    "routing": "diffgames.studies.routing:STUDY",
    "clearing": "diffgames.studies.clearing:STUDY",
    "forecast": "diffgames.studies.forecast:STUDY",
    "prosumers": "diffgames.studies.prosumers:STUDY",
    "energy-market": "diffgames.studies.energy_market:STUDY",
}
"""Every study that ships with the package: name → "module:NAME"."""

ENTRY_POINT_GROUP = "diffgames.studies"


def foreign_studies() -> dict[str, EntryPoint]:
    """Studies of other installed packages; the names of our own cannot be taken over."""
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name not in STUDIES}


def study_names() -> list[str]:
    """Names `diffgames run` knows, the package's own first."""
    return [*STUDIES, *sorted(foreign_studies())]


def find_study(target: str) -> Study:
    """The study called `target`, or in the file `FILE.py:NAME`; `InvalidInput` suggests the nearest name."""
    path, colon, name = target.rpartition(":")
    if colon and path.endswith(".py"):
        return _as_study(_member(load_file(Path(path)), name, target), target)
    if target.endswith(".py"):
        raise InvalidInput("STUDY", target, "FILE.py:NAME, the file and the name of the study or game in it")
    if target in STUDIES:
        module, _, member = STUDIES[target].partition(":")
        return getattr(importlib.import_module(module), member)
    foreign = foreign_studies()
    if target in foreign:
        try:
            found = foreign[target].load()
        except Exception as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InvalidInput("STUDY", target, f"a study that can be imported ({what})") from error
        return _as_study(found, target)
    raise InvalidInput("STUDY", target, suggestion(target, [*STUDIES, *foreign]) + ", or FILE.py:NAME")


def load_file(path: Path) -> ModuleType:
    """Import a file of the user's, its own folder importable; its errors are told in one line with the line number."""
    if not path.is_file():
        raise InvalidInput("STUDY", str(path), "a Python file that exists")
    name = f"diffgames_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidInput("STUDY", str(path), "a Python file")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[name] = module  # dataclasses look their module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
        where = f"line {line}: " if line is not None else ""
        what = f"{where}{type(error).__name__}: {error}".splitlines()[0]
        raise InvalidInput("STUDY", str(path), f"a file that imports without error ({what})") from error
    return module


def _member(module: ModuleType, name: str, target: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        known = [key for key, value in vars(module).items() if _runnable(value, module)]
        raise InvalidInput("STUDY", target, suggestion(name, known) + " in that file") from None


def _runnable(value: Any, module: ModuleType) -> bool:
    """Whether `value` is something of the module's own that can be run."""
    from diffgames.games.differential import DifferentialGame
    from diffgames.games.linear_quadratic import LinearQuadraticGame
    from diffgames.games.markov import AbstractMarkovGame

    own = isinstance(value, type) and value.__module__ == module.__name__ and issubclass(value, AbstractMarkovGame)
    return own or isinstance(value, Study | AbstractMarkovGame | LinearQuadraticGame | DifferentialGame)


def _as_study(found: Any, target: str) -> Study:
    """A study as it is; a game (or a Markov game's class, where it needs no arguments) as the study of it.

    Markov and differential games are learned, linear-quadratic ones solved; both are certified.
    """
    if isinstance(found, Study):
        return found
    from diffgames.games.differential import DifferentialGame
    from diffgames.games.linear_quadratic import LinearQuadraticGame
    from diffgames.games.markov import AbstractMarkovGame
    from diffgames.studies.own_game import study_of_differential_game, study_of_game
    from diffgames.studies.own_linear_quadratic import study_of_quadratic_game

    if isinstance(found, type) and issubclass(found, AbstractMarkovGame):
        try:
            found = found()
        except TypeError as error:
            raise InvalidInput("STUDY", target, f"a game, not its class ({error})") from error
    path, _, member = target.rpartition(":")
    name = f"{Path(path).stem}-{member}" if path else target
    kinds = {
        AbstractMarkovGame: study_of_game,
        LinearQuadraticGame: study_of_quadratic_game,
        DifferentialGame: study_of_differential_game,
    }
    for kind, study_of in kinds.items():
        if isinstance(found, kind):
            return study_of(found, name)
    allowed = "a Study, or a Markov, linear-quadratic or differential game"
    raise InvalidInput("STUDY", target, f"{allowed}; found a {type(found).__name__}")
