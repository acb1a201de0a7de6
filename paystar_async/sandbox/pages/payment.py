"""The payer's pages. They work without scripts, which count the time down and submit the form that returns by POST."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse
from starlette.responses import Response as HttpResponse

from paystar_async.sandbox.pages.language import Language, parse_language, preferred_language
from paystar_async.sandbox.pages.render import render_page
from paystar_async.sandbox.payments import CallbackRequest, GatewayPayments, PayerChoice, Payment
from paystar_async.sandbox.responses import Refusal, is_same_origin
from paystar_async.values.bank_accounts import is_valid_card
from paystar_async.values.banks import bank_by_card
from paystar_async.values.digits import compact
from paystar_async.values.masking import mask_card

CROSS_ORIGIN, TIME_UP = "cross-origin", "time up"
MAX_CARD_CHARACTERS = 40
"""Characters of a card number as typed, with spaces."""


def payment_page(payments: GatewayPayments, request: HttpRequest, fields: Mapping[str, object]) -> HttpResponse:
    """Return the payment page, the payer's way back to the shop, or the reason why nothing can be paid.

    Args:
        payments: the gateway's payments.
        request: the request, for its origin.
        fields: the fields of its query or form.
    """
    token, choice = str(fields.get("token", "")), fields.get("choice")
    accepted = preferred_language(request.headers.get("accept-language", ""))
    language = parse_language(fields.get("show"), parse_language(fields.get("lang"), accepted))
    card = "".join(filter(str.isprintable, str(fields.get("card", ""))))[:MAX_CARD_CHARACTERS]
    is_own_form = request.method == "POST" and is_same_origin(request)
    try:
        if is_own_form and (overdue := payments.cancel_if_overdue(token)):
            return refusal_page(TIME_UP, language, 410, overdue)
        if request.method != "POST" or choice not in list(PayerChoice):
            payment = payments.open_page(token, reopen=is_own_form and "lang" in fields)
            if is_filled := is_own_form and "fill" in fields:
                card = group_digits(payments.test_card(payment) or "")
            return _choice_page(payments, payment, language, card if is_own_form else "", is_filled=is_filled)
        if not is_own_form:
            # A shop may send its payer here by a form, but may not choose for the payer.
            return refusal_page(CROSS_ORIGIN, language, 403)
        return _apply_choice(payments, token, PayerChoice(str(choice)), card, language)
    except Refusal as refusal:
        # A payer who pressed twice saw neither response: this page must lead back to the shop too.
        callback = payments.find_callback(token) if is_own_form else None
        return refusal_page(refusal, language, 400, callback)


def _apply_choice(
    payments: GatewayPayments, token: str, choice: PayerChoice, typed_card: str, language: Language
) -> HttpResponse:
    card = compact(typed_card)
    if choice is PayerChoice.PAY and card:
        payment = payments.open_page(token, reopen=True)
        if not is_valid_card(card):
            return _choice_page(payments, payment, language, typed_card, card_error="card invalid")
        if payment.request.card_number not in (None, card):
            return _choice_page(payments, payment, language, typed_card, card_error="card other")
    callback = payments.apply_choice(token, choice, card or None)
    if callback.uses_get:
        return RedirectResponse(callback.redirect_url, 303)
    return _return_page(callback, choice, language)


def group_digits(card: str) -> str:
    """Return a card number in groups of four digits, as it is printed on the card."""
    return " ".join(card[start : start + 4] for start in range(0, len(card), 4))


def _choice_page(
    payments: GatewayPayments,
    payment: Payment,
    language: Language,
    card: str,
    *,
    card_error: str | None = None,
    is_filled: bool = False,
) -> HttpResponse:
    request, seconds_left = payment.request, payments.page_seconds_left(payment)
    bank = bank_by_card(request.card_number) if request.card_number else None
    return render_page(
        "payment.html",
        language,
        http_status=422 if card_error else 200,
        allow_scripts=True,
        seconds_left=seconds_left,
        countdown=language.format_countdown(seconds_left),
        card=card,
        is_filled=is_filled,
        can_fill=payments.test_card(payment) is not None,
        token=payment.token,
        merchant=urlsplit(request.callback).netloc,
        rial=payment.payment_amount,
        toman=language.format_toman(payment.payment_amount),
        fee=payment.payment_amount - request.amount,
        order_id=request.order_id,
        description=request.description,
        ref_num=payment.ref_num,
        only_card=mask_card(request.card_number) if request.card_number else None,
        bank=(bank.name_fa if language is Language.FA else bank.name) if bank else None,
        card_error=card_error,
    )


def _return_page(callback: CallbackRequest, choice: PayerChoice, language: Language) -> HttpResponse:
    return render_page(
        "return.html",
        language,
        allow_scripts=True,
        merchant=urlsplit(callback.url).netloc,
        url=callback.url,
        fields=callback.fields,
        choice=choice,
    )


def refusal_page(
    refusal: Refusal | str, language: Language, http_status: int, callback: CallbackRequest | None = None
) -> HttpResponse:
    """Return the page that says why nothing can be paid; it leads back to the shop if there is a callback."""
    status = "" if isinstance(refusal, str) else str(refusal.status)
    key = f"refusal {status or refusal}"
    message = language.gettext(key) if language.has_text(key) or isinstance(refusal, str) else refusal.message
    return render_page(
        "refusal.html", language, http_status=http_status, status=status, message=message, callback=callback
    )
