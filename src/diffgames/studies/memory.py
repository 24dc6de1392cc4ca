"""What the arrays of a run need at the least (`Study.memory`), held against free memory before the run has a folder."""

from typing import Any

from diffgames.numerics.memory import check_memory
from diffgames.studies.parameters import value_of
from diffgames.studies.study import Study


def refuse_what_does_not_fit(study: Study, config: Any) -> None:
    """Raise `InvalidInput` naming the parameters whose arrays alone need more memory than is free."""
    for keys, needed in study.memory(config).items() if study.memory is not None else ():
        values = [value_of(config, name) for name in keys.split(", ")]
        check_memory(keys, values[0] if len(values) == 1 else values, needed, "these")
