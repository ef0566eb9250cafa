"""Labelled messages and what a classifier is worth on them; nothing here needs PyTorch."""
