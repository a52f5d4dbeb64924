"""`python -m birthmark`: the command line where its script is not on the PATH."""

from birthmark.cli import main

main()
