"""Find, measure and explain successor heads in language models.

Importing the package loads nothing heavy; import the room you need, in the order in which data flows:
ordinals, models, anatomy, ov_circuit, scores, tracing, records, figures.
"""
