"""Ablations: rows that differ in one thing each, trained alike from one common backbone, and one table of them."""
