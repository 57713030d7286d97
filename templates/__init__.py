"""What ``make new`` writes."""
