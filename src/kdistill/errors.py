"""Errors that a user can mend."""


class UserError(Exception):
    """Something the user gave is wrong: the message says what was given, what is allowed and what to do.

    The doors print the message alone, without a traceback, and leave with exit code 2.
    """
