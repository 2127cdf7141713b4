"""What is done with a pre-trained model and labelled DNA."""
