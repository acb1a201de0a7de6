"""Small applications that run as they stand; the README links them, and the tests beside them prove it."""
