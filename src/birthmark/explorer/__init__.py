"""The explorer: a page in which a marked network trains, in one file."""

from birthmark.explorer.assembly import write_explorer
