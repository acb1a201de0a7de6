"""Small applications that run unchanged; the README links them, and the tests beside them run them."""
