"""The kinds of value that are sent: how each is read, checked, masked and explained."""
