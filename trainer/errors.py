"""What can go wrong in training that a user can put right."""

from runtime.errors import SpamEdgeError


class TrainerError(SpamEdgeError):
    """A recipe, weights or a checkpoint that cannot be used; says which and what to do."""
