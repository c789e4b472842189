"""What is committed of the studies, and RESULTS.md, which is made of nothing else.

results/<study>.csv      one row an agent: what it is, in words, and what was measured
results/<study>.json     the command, seeds, time, commit and device
results/verdicts.json    the thirteen claims
results/reading.md       prose, whose numbers are looked up in these
docs/figures/            figures as PNG and SVG
"""
