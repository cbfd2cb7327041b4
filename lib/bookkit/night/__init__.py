"""Many models: the sweep over models.yml, what the nightly run keeps, and what others contribute.

`python -m bookkit.night` runs without the book's environment, so nothing is imported here.
"""
