"""Find, measure and explain successor heads in language models.

Importing the package loads nothing heavy; import the room you need, in the order in which data flows:
ordinals, models, anatomy, ov_circuit, scores, streaming, intervals, ndif, prompts, ablation, direct_effects,
features, arithmetic, texts, behaviours, planted, growing, studies, records, figures.
"""

import warnings

# nnsight brings tqdm's notebook bars, which ask for ipywidgets in every notebook that lacks them. Text
# bars do as well, and the warning would print a path of the reader's machine onto the page.
warnings.filterwarnings("ignore", message="IProgress not found")
