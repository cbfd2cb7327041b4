"""Run the notebooks: `python -m bookkit.build` builds the book."""
