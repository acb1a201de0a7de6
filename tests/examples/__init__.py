"""Small applications that run unchanged; guides link them, and the tests beside them run them."""
