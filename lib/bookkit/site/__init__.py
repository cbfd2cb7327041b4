"""Records and executed notebooks become pages, slides and a PDF. Nothing here computes a result."""
