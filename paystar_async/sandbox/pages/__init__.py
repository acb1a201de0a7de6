"""The pages a person sees: the payment page and the dashboard, in Persian and in English."""
