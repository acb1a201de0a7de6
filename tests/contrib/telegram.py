"""A fake Telegram that records the messages a bot sends."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

from aiogram import Bot
from aiogram.client.session.base import BaseSession
from aiogram.methods import SendMessage, TelegramMethod
from aiogram.types import Chat, Message, Update, User


class Telegram(BaseSession):
    """A bot's session without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_messages: list[SendMessage] = []

    async def close(self) -> None:
        """Do nothing: no connection is open."""

    async def make_request(self, bot: Bot, method: TelegramMethod[Any], timeout: int | None = None) -> Any:
        assert isinstance(method, SendMessage), f"the bot asked for {type(method).__name__}"
        self.sent_messages.append(method)
        return Message(message_id=len(self.sent_messages), date=NOW, chat=Chat(id=int(method.chat_id), type="private"))

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        raise AssertionError
        yield b""


NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "42:play"


def message(text: str, chat: int = 7) -> Update:
    """Return an update with a message to the bot."""
    user = User(id=chat, is_bot=False, first_name="Ali")
    written = Message(message_id=1, date=NOW, chat=Chat(id=chat, type="private"), from_user=user, text=text)
    return Update(update_id=1, message=written)
