"""The registry of studies, and what studies are made of.

`STUDIES` holds one line per study, name → "module:NAME", imported when asked for. Packages of your own register theirs
under the entry-point group `diffgames.studies`; a single file needs no registration (`diffgames run FILE.py:NAME`).
"""

from diffgames.studies.registry import STUDIES, find_study, study_names
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

__all__ = ["STUDIES", "Headline", "Parameter", "Study", "StudyResult", "find_study", "study_names"]
