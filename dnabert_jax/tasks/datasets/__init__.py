"""Labelled DNA in every layout in which it is passed around, and sequences to predict."""
