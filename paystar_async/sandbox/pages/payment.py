"""The pages a payer sees. They work without scripts; the way back by POST merely sends itself where scripts run."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse
from starlette.responses import Response as HttpResponse

from paystar_async.sandbox.pages.language import Language, language_of
from paystar_async.sandbox.pages.render import page
from paystar_async.sandbox.payments import Callback, Choice, Payment, Payments
from paystar_async.sandbox.responses import Refusal, is_own
from paystar_async.values.banks import bank_by_card
from paystar_async.values.card import is_valid_card
from paystar_async.values.digits import compact
from paystar_async.values.mask import mask_card

FOREIGN = "foreign"


def payment_page(payments: Payments, request: HttpRequest, fields: Mapping[str, object]) -> HttpResponse:
    """What a payer's browser is answered: the page, the way back, or why there is nothing to pay.

    Args:
        payments: every payment there is.
        request: what came, for where it is from.
        fields: its query or its form.
    """
    token, choice, language = str(fields.get("token", "")), fields.get("choice"), language_of(fields.get("lang"))
    pressed = request.method == "POST" and is_own(request)
    try:
        if request.method != "POST" or choice not in list(Choice):
            return _choice_page(payments.open(token, again=pressed and "lang" in fields), language)
        if not pressed:
            # A shop may send its payer here by a form of its own, and may not pay in their place.
            return _refusal_page(FOREIGN, language, 403)
        return _choose(payments, token, Choice(str(choice)), str(fields.get("card", "")), language)
    except Refusal as refusal:
        # Who pressed twice has seen the first answer of neither: there must be a way back from here too.
        return _refusal_page(refusal, language, 400, payments.way_back(token) if pressed else None)


def _choose(payments: Payments, token: str, choice: Choice, card: str, language: Language) -> HttpResponse:
    card = compact(card)
    if choice is Choice.PAY and card:
        payment = payments.open(token, again=True)
        allowed = payment.asked.card_number
        wrong = "card invalid" if not is_valid_card(card) else "card other" if allowed not in (None, card) else None
        if wrong:
            return _choice_page(payment, language, wrong)
    callback = payments.choose(token, choice, card or None)
    return RedirectResponse(callback.location, 303) if callback.by_get else _return_page(callback, choice, language)


def _choice_page(payment: Payment, language: Language, wrong: str | None = None) -> HttpResponse:
    asked = payment.asked
    bank = bank_by_card(asked.card_number) if asked.card_number else None
    return page(
        "payment.html",
        language,
        http=422 if wrong else 200,
        token=payment.token,
        merchant=urlsplit(asked.callback).netloc,
        rial=payment.payment_amount,
        toman=language.toman(payment.payment_amount),
        fee=payment.payment_amount - asked.amount,
        order_id=asked.order_id,
        description=asked.description,
        ref_num=payment.ref_num,
        only_card=mask_card(asked.card_number) if asked.card_number else None,
        bank=(bank.name_fa if language is Language.FA else bank.name) if bank else None,
        wrong=wrong,
    )


def _return_page(callback: Callback, choice: Choice, language: Language) -> HttpResponse:
    return page(
        "return.html",
        language,
        runs=True,
        merchant=urlsplit(callback.url).netloc,
        url=callback.url,
        fields=callback.fields,
        choice=choice,
    )


def _refusal_page(refusal: Refusal | str, language: Language, http: int, back: Callback | None = None) -> HttpResponse:
    status = "" if isinstance(refusal, str) else str(refusal.status)
    key = f"refusal {status or refusal}"
    message = language.say(key) if language.has(key) or isinstance(refusal, str) else refusal.message
    return page("refusal.html", language, http=http, status=status, message=message, back=back)
