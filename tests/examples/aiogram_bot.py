"""A bot that sells tea, in aiogram: ``/buy`` sends a payment button, and the paid tea is delivered.

The payer comes back to a page, so the bot includes a small web application. Set ``BOT_TOKEN``, and
``CALLBACK=http://127.0.0.1:8080/pay/callback``; then ``paystar sandbox -- python -m tests.examples.aiogram_bot``.
"""

import os

from aiogram import Bot, Dispatcher
from aiogram.filters import Command
from aiogram.types import Message
from aiohttp import web

from paystar_async import Paystar, Toman
from paystar_async.contrib.aiogram import payment_keyboard, setup_paystar
from paystar_async.contrib.aiohttp import PAYSTAR, payment_routes
from paystar_async.payments import Payment


async def buy(message: Message, paystar: Paystar, callback: str) -> None:
    order_id = f"{message.chat.id}-{message.message_id}"  # so that the chat is known from the order
    payment = await paystar.payments.start(amount=Toman(5_000), order_id=order_id, callback=callback)
    await message.answer("یک فنجان چای", reply_markup=payment_keyboard(payment))


def make_bot(bot: Bot, paystar: Paystar, callback: str) -> tuple[Dispatcher, web.Application]:
    """Return the bot and the web page that payers come back to."""

    async def hand_over(payment: Payment) -> None:
        chat, _, _ = payment.order_id.rpartition("-")
        await bot.send_message(int(chat), "پرداخت شد؛ چای در راه است.")

    async def on_payment(_request: web.Request, _payment: Payment) -> None:
        """Return None: the page shows the result, and the chat continues."""

    dispatcher = Dispatcher(callback=callback)
    dispatcher.message.register(buy, Command("buy"))
    setup_paystar(dispatcher, paystar, on_verified=hand_over)
    app = web.Application()
    app[PAYSTAR] = paystar  # opened and closed with the bot
    app.add_routes(payment_routes("/pay/callback", on_payment))
    return dispatcher, app


async def main() -> None:
    bot = Bot(os.environ["BOT_TOKEN"])
    dispatcher, app = make_bot(bot, Paystar.from_env(), os.environ["CALLBACK"])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    try:
        await dispatcher.start_polling(bot)  # pyright: ignore[reportUnknownMemberType]
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    import asyncio

    asyncio.run(main())
