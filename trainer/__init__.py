"""Labelled messages become a fine-tuned checkpoint."""
