"""The dated table of prices and billing rules, `benchmarks/prices.yaml`.

In: the file. Out: figures by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).resolve().parent.parent / "prices.yaml"


@dataclass(frozen=True, slots=True)
class Prices:
    """What is charged, and how it is counted.

    Attributes:
        usd: by meter.
        sources: where each price is from, and when it was read.
        rules: how meters count.
        assumed: seconds that things take.
    """

    instance_gb: float
    usd: Mapping[str, float]
    sources: Mapping[str, str]
    rules: Mapping[str, float]
    assumed: Mapping[str, float]


def read(path: Path = PATH) -> Prices:
    """The table.

    Raises:
        KeyError: a price has no figure, source or date.
    """
    given: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    prices: dict[str, dict[str, Any]] = given["prices"]
    return Prices(
        instance_gb=given["instance_mb"] / 1024,
        usd={name: float(price["usd"]) for name, price in prices.items()},
        sources={name: f"{price['source']} (read {price['read']})" for name, price in prices.items()},
        rules={name: float(value) for name, value in given["rules"].items()},
        assumed={name: float(value) for name, value in given["assumed"].items()},
    )
