"""Chapter 8: do models of today count with a head?

::

    found = models_of_today.measure(model, name="published/smollm2", seed=0)
    models_of_today.verdict(found).key        # "coded": one head carries the counting, and neither steps nor copies

The rules, the frames and the thresholds stand in ``rules.yml``, which was committed before the first run. Heads are
chosen on some frames and members and judged on others. `lists` makes the lists, `instruments` measure, `found` holds
what they found and reads and writes it, `verdicts` says what it comes to, and `drawings` shows it.
"""

from successor_heads.studies.models_of_today.found import CHAPTER, Found, stored, stored_models
from successor_heads.studies.models_of_today.instruments import measure
from successor_heads.studies.models_of_today.rules import RULES, printed
from successor_heads.studies.models_of_today.verdicts import verdict

__all__ = ["CHAPTER", "RULES", "Found", "measure", "printed", "stored", "stored_models", "verdict"]
