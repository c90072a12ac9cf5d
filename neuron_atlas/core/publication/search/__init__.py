"""Finding labels: what a question is, which words a text holds, how two rankings become one.

What belongs here is the same whatever holds the labels: a Postgres NeuronDB or the atlas file. The statements themselves are in
`adapters/sql` and in the two adapters.
"""
