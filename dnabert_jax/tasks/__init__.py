"""What is done with a model and labelled DNA: metrics, results, baselines."""
