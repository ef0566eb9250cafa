"""What can go wrong that a user can put right: one line that says what, where, and what to do."""


class SpamEdgeError(Exception):
    """Base of every error that a user can act on; the commands print it as one line and exit with code 2."""


class ModelError(SpamEdgeError):
    """A model file is missing, broken, or not one that this version can serve."""


class InputError(SpamEdgeError):
    """A file of messages is missing, unreadable, or not in the form it was said to be."""


class OutputError(SpamEdgeError):
    """A result cannot be written where it was asked for."""
