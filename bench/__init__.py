"""Reproducible measurements: each case interleaves the ways to reach the same server and prints ratios of medians."""
