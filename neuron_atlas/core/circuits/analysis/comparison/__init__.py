"""Two graphs compared.

    alignment.py           which position of one prompt corresponds to which of the other
    compare_graphs.py      shared and differing neurons, links and modules, and similarities, as frames
    comparison_record.py   the result as it is stored, a JSON document

Not here: the function `compare` that puts them together (`analysis/compare.py`), several answers of one prompt
(`analysis/compare_answers.py`).
"""
