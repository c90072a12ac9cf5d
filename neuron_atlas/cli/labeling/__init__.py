"""`neuron-atlas label`.

    label.py          the command: its options, and which of the files below runs
    reports.py        what it prints without labeling: --show, --dry-run, --report, --neighbours, --prompt-injection
    interactive.py    --interactive: labeling by hand
    browse.py         --browse: looking through the labels of an atlas
    label_data.py     the stored evidence and labels that these read

Not here: importing and exporting labels (`cli/publication`), the labels of a graph (`cli/attribution/graph_labels.py`).
"""
