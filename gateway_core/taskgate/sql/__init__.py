"""SQL text and a catalogue snapshot → facts: effects with objects, columns read and where, functions, completeness.

`postgres.analyze` is the way in; nothing here performs I/O except `catalog_reader` and `impact`.
"""
