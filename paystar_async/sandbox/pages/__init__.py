"""The sandbox's web pages, in Persian and English: the payment page and the dashboard."""
