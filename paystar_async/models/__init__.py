"""What is sent and what is answered: values that know nothing of what carries them."""
