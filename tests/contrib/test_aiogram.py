"""aiogram: the client as a handler's argument, and the payment button."""

from aiogram import Bot, Dispatcher
from aiogram.types import Message

from paystar_async import Paystar
from paystar_async.contrib.aiogram import payment_keyboard, setup_paystar
from paystar_async.payments import StartedPayment
from tests.contrib.shops import Shop
from tests.contrib.telegram import TOKEN, Telegram, message


async def test_setup_paystar_injects_client_until_shutdown() -> None:
    clients: list[Paystar] = []

    async def any_message(message: Message, paystar: Paystar) -> None:
        clients.append(paystar)

    client = Shop().client()
    dispatcher = Dispatcher()
    dispatcher.message.register(any_message)
    setup_paystar(dispatcher, client)
    bot = Bot(TOKEN, session=Telegram())

    for _ in range(2):
        await dispatcher.emit_startup()
        await dispatcher.feed_update(bot, message("hello"))
        await dispatcher.emit_shutdown()

    assert clients == [client, client]


def test_payment_keyboard_shows_amount_and_opens_page() -> None:
    started = StartedPayment(url="https://core.paystar.ir/p?token=t", order_id="o", ref_num="r", amount=50_000)
    button = payment_keyboard(started).inline_keyboard[0][0]

    assert (button.text, button.url) == ("پرداخت 5,000 تومان", "https://core.paystar.ir/p?token=t")


def test_payment_keyboard_shows_paid_amount_in_rial() -> None:
    started = StartedPayment(url="https://p", order_id="o", ref_num="r", amount=50_000, payment_amount=50_455)

    assert payment_keyboard(started).inline_keyboard[0][0].text == "پرداخت 50,455 ریال"


def test_payment_keyboard_custom_text() -> None:
    assert payment_keyboard("https://p", text="Pay").inline_keyboard[0][0].text == "Pay"
    assert payment_keyboard("https://p").inline_keyboard[0][0].text == "پرداخت"
