"""Everything a score needs to be believed: intervals, permutation nulls, ceilings, corrections."""
