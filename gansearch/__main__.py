"""`python -m gansearch`."""

from gansearch.cli import main

main()
