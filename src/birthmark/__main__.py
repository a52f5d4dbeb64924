"""Where the command line begins: `birthmark`, or `python -m birthmark`.

Until all is loaded, Ctrl-C ends the process as a signal does, without a traceback of
whatever was being imported.
"""

import signal


def main() -> None:
    """Load the command line, and run it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from birthmark.cli import main as command

    command()


if __name__ == "__main__":
    main()
