"""`python -m bookkit.editions` writes both editions: see `bookkit.editions.editions`."""

from bookkit.editions.editions import main

main()
