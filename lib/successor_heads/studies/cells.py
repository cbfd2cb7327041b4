"""Findings of a record as cells of a table "as reported, as we measured", in a chapter and on the page of all models.

::

    cells.share_cell(findings, "sae_share", beside="sae_share_shuffled", name="permuted")   # "0.24 (0.20 to 0.28); permuted 0.17"
    cells.count_cell(findings, "lists_unseen")                                              # "66 of 136"
"""

import math
from collections.abc import Mapping
from typing import Any

Findings = Mapping[str, Mapping[str, Any]]  # by name, each as `records.finding` makes it, or as JSON holds it
NOT_ASKED = "not to be asked here"


def _value(findings: Findings, key: str) -> float | None:
    """A finding's value; None where it was not measured, which JSON writes as null and a record in memory as NaN."""
    value = findings.get(key, {}).get("value")
    return None if value is None or math.isnan(value) else value


def share_cell(findings: Findings, key: str, *, beside: str | None = None, name: str = "shuffled") -> str:
    """A share with its 95% interval, and its control `beside` it: "0.24 (0.20 to 0.28); permuted 0.17"."""
    value = _value(findings, key)
    if value is None:
        return NOT_ASKED
    low, high = findings[key]["low"], findings[key]["high"]
    interval = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    control = None if beside is None else _value(findings, beside)
    digits = 3 if 0 < value < 0.005 else 2  # one in a thousand is not none
    return f"{value:.{digits}f}{interval}" + ("" if control is None else f"; {name} {control:.2f}")


def count_cell(findings: Findings, key: str) -> str:
    """A share as a count: "66 of 136"."""
    value, n = _value(findings, key), findings.get(key, {}).get("n")
    return NOT_ASKED if value is None or not n else f"{round(value * n)} of {n}"


def number_cell(findings: Findings, key: str) -> str:
    """A whole number, such as a modulus."""
    value = _value(findings, key)
    return NOT_ASKED if value is None else f"{value:.0f}"
