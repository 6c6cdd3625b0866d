"""What holds for every test."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts this in the background has it and all it starts ignore Ctrl-C, which tests send to programs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
