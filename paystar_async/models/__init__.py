"""Request and response models; a model knows no endpoint and no client."""
