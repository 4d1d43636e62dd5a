"""What evaluations found: scores with intervals, tables, plots and the page of them."""
