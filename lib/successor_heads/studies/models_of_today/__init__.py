"""Chapter 8: do models of today count with a head?

::

    found = models_of_today.measure(model, name="published/smollm2", seed=0)
    models_of_today.verdict(found).key        # "coded": one head carries the counting, and neither steps nor copies

The rules, the frames and the thresholds stand in ``rules.yml``, which was committed before the first run that is reported
and after a first look. Heads are chosen on lists in some frames and judged on others, which end in other members. `lists` makes the lists, `instruments` measure, `found` holds
what they found and reads and writes it, `verdicts` says what it comes to, and `drawings` shows it.
`closer`, and after it `further`, ask the head and the MLPs of the published models more, about lists in `rarely_read` as
well; `closer_shown` and `further_shown` show the answers, on a page of their own.
"""

from successor_heads.studies.models_of_today import known, lists
from successor_heads.studies.models_of_today.drawings import (
    draw_circuit,
    draw_depths,
    draw_differences,
    draw_exchange,
    draw_fronts,
    draw_gate,
    draw_known,
    draw_orders,
    draw_parts,
    draw_recurring,
    draw_rules,
    draw_stream,
    draw_verdicts,
    draw_writes,
)
from successor_heads.studies.models_of_today.found import Found, stored
from successor_heads.studies.models_of_today.instruments import effects_on, measure
from successor_heads.studies.models_of_today.known import verdict_of_known
from successor_heads.studies.models_of_today.rules import RULES, frames
from successor_heads.studies.models_of_today.shown import PUBLISHED, of_today, record
from successor_heads.studies.models_of_today.verdicts import in_short, key_of, verdict, verdict_of_all

__all__ = [
    "PUBLISHED", "RULES", "Found", "draw_circuit", "draw_depths", "draw_differences", "draw_exchange", "draw_fronts", "draw_gate", "draw_known", "draw_orders",
    "draw_parts", "draw_recurring", "draw_rules", "draw_stream", "draw_verdicts", "draw_writes", "effects_on", "frames", "in_short", "key_of", "known",
    "lists", "measure", "of_today", "record", "stored", "verdict", "verdict_of_all", "verdict_of_known",
]  # fmt: skip  # what the chapter calls
