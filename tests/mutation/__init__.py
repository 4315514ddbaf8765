"""Changes to the code of the method, to find those that no test notices."""
