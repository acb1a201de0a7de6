"""The orders, and what was delivered."""

from django.db import models


class Order(models.Model):
    order_id: "models.CharField[str, str]" = models.CharField(max_length=32, primary_key=True)
    amount: "models.PositiveBigIntegerField[int, int]" = models.PositiveBigIntegerField()


class Delivery(models.Model):
    payment_id: "models.CharField[str, str]" = models.CharField(max_length=255, primary_key=True)
    order: "models.ForeignKey[Order, Order]" = models.ForeignKey(Order, on_delete=models.PROTECT)
