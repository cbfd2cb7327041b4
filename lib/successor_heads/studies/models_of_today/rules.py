"""The rules of chapter 8 as they were announced: ``rules.yml``, which says when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from successor_heads.studies.models_of_today.lists import Frame

FILE = Path(__file__).with_name("rules.yml")
RULES: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf8"))


def frames(split: str) -> dict[str, Frame]:
    """The frames of "discovery" or of "confirmation"."""
    return {name: Frame.of(between) for name, between in RULES["prompts"][split].items()}


def printed() -> str:
    """The file as it stands, for the page."""
    return FILE.read_text(encoding="utf8")
