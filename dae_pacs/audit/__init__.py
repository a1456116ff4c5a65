"""The audit trail (PS3.15 A.5): who moved, changed or refused what, apart from the log."""
