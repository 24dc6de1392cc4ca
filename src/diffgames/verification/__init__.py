"""Evidence by another route than the solver's: best responses and the certificates made of them."""
