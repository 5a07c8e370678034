"""The workloads on other people's libraries, each in a module of its own; only what it is made for.

Each is set up as its documentation says, with what makes it fast here; ``ABOUT`` says what it promises in doing so.
"""
