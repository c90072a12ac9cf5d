"""What a labeler is shown of a neuron, what it answers, and which of several answers is shown.

    gather.py              the evidence of one layer, from the tables. Start here
    evidence_record.py     `OutputEvidence` and `InputEvidence`: all that a labeler reads, and its hash
    render.py              evidence as text, exactly as a language model or a person reads it
    labelable.py           which neurons get a label
    layer_tables.py        one layer's share of the tables, table by table
    connections.py         its edges to other neurons and tokens, turned towards the polarity
    firing.py              where it fires: tokens, what stands before them, position
    lexicon.py             what tokens have in common, found in the data
    word_classes.py        closed word classes of English
    neighbour_labels.py    the labels of other neurons that a layer reads
    labeler_answer.py        `Label` and `Unlabeled`: the answers, and what text may stand in them
    label_rows.py          rows of the label tables; refs of labels, and which labels are stale
    shown_label.py          which label is shown, and which score stands for it: the one order that every store uses

Not here: how an answer is found (`labelers/`) or scored (`scoring/`).
"""
