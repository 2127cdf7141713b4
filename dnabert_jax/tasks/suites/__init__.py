"""One model on many data sets."""
