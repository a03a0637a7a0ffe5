"""Writers: language models of external providers that write scripts, translations and descriptions."""
