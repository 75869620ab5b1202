"""What there is: every part and every key of a study file, read from the code that defines them."""
