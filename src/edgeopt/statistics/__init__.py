"""Bounds, bootstrap, paired differences, latencies over openings, power, agreement. numpy alone."""
