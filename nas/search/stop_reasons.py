"""Why a search, or a part of it, ended early: what the reader is told and the code compares."""

from __future__ import annotations

MAX_CRASHES = 3
"""Times that training processes may die before a search gives up."""

CUT_OFF = "interrupted; go on with --resume"

MEASURING_CUT_OFF = "measuring the front was interrupted; go on with --resume"

EXHAUSTED = "nothing new within budget was found in the space"

OUT_OF_TIME = "the time limit was reached; go on with --resume and a longer --time-limit"

WORKER_DIED = (
    f"a training process died {MAX_CRASHES} times (out of memory?): try fewer --workers, then "
    f"--resume"
)
