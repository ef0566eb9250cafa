"""What can go wrong in an export that a user can put right."""

from runtime.errors import SpamEdgeError


class ExportError(SpamEdgeError):
    """A file that cannot be made as asked, or that was made and failed its verification."""
