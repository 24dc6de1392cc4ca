"""The four experiments of Vadori et al., Section 5.1, as studies: their words, presets and figure.

The words are literals: `diffgames list` reads them without importing a solver.
"""

import functools
from typing import Any

from diffgames.studies.calibration import memory, run
from diffgames.studies.calibration_figures import percentiles, rewards, shares
from diffgames.studies.calibration_words import QUICK, CalibrationConfig, CalibrationHeadline
from diffgames.studies.drawing import Drawing
from diffgames.studies.study import Study

SEARCHED = {"updates": 300, "bayesian_every": 15, "training_updates": 100}
LONG = {"exchange": "mixture", "updates": 6667, "trainings": 2}
SHARED: dict[str, Any] = {
    "headline": CalibrationHeadline,
    "published": "its targets and, as curves without numbers, how near it comes",
    "uncertified": "a calibration is judged by its targets, measured again with new agents under the frozen law",
    "figures": {
        "calibration": Drawing(
            "CALSHEQ's reward rises above Bayesian optimization's; whether the targets are met is seen in the "
            "shares and trade sizes, of the calibrated agents and of new ones",
            "calibration",
            rewards,
            shares,
            percentiles,
            width=4.6,
            height=3.6,
        )
    },
}
CALIBRATION_1 = Study(
    name="calibration-1",
    source="Vadori et al., arXiv 2210.07184, Section 5.1, experiment 1",
    shows="supertypes are calibrated while agents learn: share of supertype 1 ≥ .15, of all ≥ .8, "
    "supertype 1's percentiles 8, 8, 8, 9, 9, 9, 10, 10, 10",
    config=CalibrationConfig,
    run=functools.partial(run, experiment=1),
    memory=functools.partial(memory, experiment=1),
    presets={"quick": QUICK | SEARCHED, "paper": LONG},
    minutes={"quick": 2.5, "paper": 3000.0},
    example="diffgames run calibration-1 --set updates=600 --set bayesian_every=30",
    **SHARED,
)
CALIBRATION_2 = Study(
    name="calibration-2",
    source="Vadori et al., arXiv 2210.07184, Section 5.1, experiment 2",
    shows="supertypes are calibrated while agents learn: those of experiment 1, and supertype 2's "
    "percentiles 2, 3, 3, 4, 5, 5, 6, 6, 7",
    config=CalibrationConfig,
    run=functools.partial(run, experiment=2),
    memory=functools.partial(memory, experiment=2),
    presets={"quick": QUICK | SEARCHED, "paper": LONG},
    minutes={"quick": 2.5, "paper": 3000.0},
    example="diffgames run calibration-2 --set updates=600 --set bayesian_every=30",
    **SHARED,
)
CALIBRATION_3 = Study(
    name="calibration-3",
    source="Vadori et al., arXiv 2210.07184, Section 5.1, experiment 3",
    shows="supertypes are calibrated while agents learn: those of experiment 2, with ten providers",
    config=CalibrationConfig,
    run=functools.partial(run, experiment=3),
    memory=functools.partial(memory, experiment=3),
    presets={"quick": QUICK | SEARCHED, "paper": LONG | {"updates": 3333}},
    minutes={"quick": 2.5, "paper": 3000.0},
    example="diffgames run calibration-3 --set updates=600 --set bayesian_every=30",
    **SHARED,
)
CALIBRATION_4 = Study(
    name="calibration-4",
    source="Vadori et al., arXiv 2210.07184, Section 5.1, experiment 4",
    shows="supertypes are calibrated while agents learn: share of supertype 1 = .25, of all ≥ .8, "
    "with ten providers whose risk aversion is calibrated too",
    config=CalibrationConfig,
    run=functools.partial(run, experiment=4),
    memory=functools.partial(memory, experiment=4),
    presets={"quick": QUICK | SEARCHED, "paper": LONG | {"updates": 3333}},
    minutes={"quick": 2.5, "paper": 3000.0},
    example="diffgames run calibration-4 --set updates=600 --set bayesian_every=30",
    **SHARED,
)
