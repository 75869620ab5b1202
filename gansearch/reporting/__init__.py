"""The page that answers a study's question: contents, figures, words."""
