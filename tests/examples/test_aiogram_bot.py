"""The bot: a payment button, the page for the returning payer, and a message in the chat."""

from aiogram import Bot
from aiogram.types import InlineKeyboardMarkup
from aiohttp.test_utils import TestClient, TestServer

from paystar_async import Paystar
from paystar_async.sandbox import Sandbox
from tests.contrib.browsing import paid
from tests.contrib.telegram import TOKEN, Telegram, message
from tests.examples.aiogram_bot import make_bot


async def test_aiogram_bot_sells_in_chat(sandbox: Sandbox) -> None:
    telegram = Telegram()
    bot = Bot(TOKEN, session=telegram)
    dispatcher, app = make_bot(bot, Paystar.from_env(), "https://shop.example/pay/callback")

    async with TestClient(TestServer(app)) as browser:
        await dispatcher.emit_startup()
        await dispatcher.feed_update(bot, message("/buy"))
        keyboard = telegram.sent_messages[0].reply_markup
        assert isinstance(keyboard, InlineKeyboardMarkup)
        button = keyboard.inline_keyboard[0][0]
        assert button.text == "پرداخت 5,000 تومان"

        fields = paid(sandbox, button.url or "")
        for _ in range(2):
            page = await browser.get("/pay/callback", params=fields)
            assert "The payment was made" in await page.text()
        await dispatcher.emit_shutdown()

    assert [(message.chat_id, message.text) for message in telegram.sent_messages[1:]] == [
        (7, "پرداخت شد؛ چای در راه است.")
    ]
