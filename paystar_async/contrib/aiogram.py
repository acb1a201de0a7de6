"""aiogram: the client as an argument of every handler, and a button that opens a payment page.

    dispatcher = Dispatcher()
    setup_paystar(dispatcher, on_verified=hand_over)

    @dispatcher.message(Command("buy"))
    async def buy(message: Message, paystar: Paystar) -> None:
        payment = await paystar.payments.start(amount=Toman(5_000), order_id=..., callback="https://shop.example/back")
        await message.answer("…", reply_markup=payment_keyboard(payment))

The payer comes back to ``callback``, a web page: serve it with ``paystar_async.contrib.aiohttp`` or ``.fastapi``, in
the same process or in another process with the same ``database=``. ``on_verified`` then writes to the chat; store the
chat beside the order. A payment page opens once, so start the order again for a payer who asks again.

Bale has the same protocol: ``Bot(token, session=AiohttpSession(api=TelegramAPIServer.from_base(
"https://tapi.bale.ai")))``, and nothing else differs.

With python-telegram-bot (for Bale, ``.base_url("https://tapi.bale.ai/bot")`` on the builder as well)::

    from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
    from telegram.ext import Application, CommandHandler, ContextTypes
    from paystar_async import Paystar, Toman

    async def open_client(application: Application) -> None:
        application.bot_data["paystar"] = Paystar.from_env()

    async def close_client(application: Application) -> None:
        await application.bot_data["paystar"].aclose()

    async def buy(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
        payment = await context.bot_data["paystar"].payments.start(
            amount=Toman(5_000), order_id=str(update.update_id), callback="https://shop.example/pay/callback")
        button = InlineKeyboardButton("پرداخت", url=payment.url)
        await update.effective_message.reply_text("یک فنجان چای", reply_markup=InlineKeyboardMarkup([[button]]))

    def application(token: str) -> Application:
        built = Application.builder().token(token).post_init(open_client).post_shutdown(close_client).build()
        built.add_handler(CommandHandler("buy", buy))
        return built
"""

from contextlib import AsyncExitStack

from paystar_async.contrib._lifespan import ClientOrFactory, OnVerified, open_client
from paystar_async.errors import MissingExtra
from paystar_async.payments import StartedPayment
from paystar_async.values.arguments import require_instance
from paystar_async.values.numbers import Toman

try:
    from aiogram import Dispatcher
    from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup
except ImportError:
    raise MissingExtra("paystar_async.contrib.aiogram", "aiogram") from None


def setup_paystar(
    dispatcher: Dispatcher, make: ClientOrFactory = None, *, on_verified: OnVerified | None = None
) -> None:
    """Open a client when the dispatcher starts, close it when it stops, and hand it to handlers as ``paystar``.

    Args:
        dispatcher: the dispatcher; it starts and stops with polling, or with aiogram's webhook application.
        make: a client, or a function called at start-up that returns a client (``lambda: Paystar(gateway=...,
            database=...)``), so that importing the bot needs no configuration; default: ``Paystar.from_env``.
        on_verified: fulfils an order; called for each verified payment at least once (``payments.on_verified``). With
            a handler, orders whose payer never came back are checked in the background; needs ``database=``.

    Raises:
        InvalidValue: ``dispatcher`` is not a Dispatcher.
    """
    require_instance("dispatcher", dispatcher, Dispatcher)
    stack = AsyncExitStack()

    async def start() -> None:
        dispatcher["paystar"] = await stack.enter_async_context(open_client(make, on_verified))

    async def stop() -> None:
        await stack.aclose()

    dispatcher.startup.register(start)
    dispatcher.shutdown.register(stop)


def payment_keyboard(payment: StartedPayment | str, *, text: str | None = None) -> InlineKeyboardMarkup:
    """Return a keyboard with one button that opens a payment page.

    Args:
        payment: the result of ``payments.start``, or the page's address.
        text: text of the button; default: "pay" and the amount, in Persian.

    Raises:
        InvalidValue: ``payment`` is neither of the two.
    """
    if isinstance(payment, StartedPayment):
        rial = payment.payment_amount or payment.amount
        price = f"{rial:,} ریال" if rial % Toman(1) else f"{rial // Toman(1):,} تومان"
        text, payment = text or f"پرداخت {price}", payment.url
    require_instance("payment", payment, str, hint="pass the result of: await payments.start(...)")
    return InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text=text or "پرداخت", url=payment)]])
