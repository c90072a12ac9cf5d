"""What the Dagster UI shows of an asset besides its rows: numbers, plots, tables.

asset_metadata.py      numbers, plots and tables of each asset
statistics_plots.py    plots of the statistics tables: which numbers they show
drawing.py             histograms, bars, curves, heatmaps and tables as markdown, whatever they show

Not here: rows, columns, content hash and location (defs/io_managers.py), check results (defs/checks), the pages of the published
atlas (core/publication).
"""
