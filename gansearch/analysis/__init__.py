"""Tables from a study's journal, as pandas DataFrames. Needs no Ray and no torch."""
