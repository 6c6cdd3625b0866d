"""Reports: totals, hours and servers from the archive, counts of the moment from those who know them."""
