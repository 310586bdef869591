"""What all sections of the configuration have in common.

In: nothing. Out: the class that refuses unknown settings, and lengths of time within sensible bounds.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

YEAR_S = 366 * 24 * 3600
Seconds = Annotated[float, Field(ge=0, le=YEAR_S)]  # a `ge` beside it would be ignored: the first one counts


class Section(BaseModel):
    """Common to all sections: unknown settings are refused, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
