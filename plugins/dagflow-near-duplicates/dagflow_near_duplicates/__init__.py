"""dagflow-near-duplicates: a stage that finds texts that are nearly the same as an earlier one."""
