"""The payer's pages. They work without scripts; with scripts, the form that returns by POST submits itself."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request as HttpRequest
from starlette.responses import RedirectResponse
from starlette.responses import Response as HttpResponse

from paystar_async.sandbox.pages.language import Language, parse_language
from paystar_async.sandbox.pages.render import render_page
from paystar_async.sandbox.payments import CallbackRequest, GatewayPayments, PayerChoice, Payment
from paystar_async.sandbox.responses import Refusal, is_same_origin
from paystar_async.values.bank_accounts import is_valid_card
from paystar_async.values.banks import bank_by_card
from paystar_async.values.digits import compact
from paystar_async.values.masking import mask_card

CROSS_ORIGIN = "cross-origin"


def payment_page(payments: GatewayPayments, request: HttpRequest, fields: Mapping[str, object]) -> HttpResponse:
    """Return the payment page, the payer's way back to the shop, or the reason why nothing can be paid.

    Args:
        payments: the gateway's payments.
        request: the request, for its origin.
        fields: the fields of its query or form.
    """
    token, choice, language = str(fields.get("token", "")), fields.get("choice"), parse_language(fields.get("lang"))
    is_own_form = request.method == "POST" and is_same_origin(request)
    try:
        if request.method != "POST" or choice not in list(PayerChoice):
            return _choice_page(payments.open_page(token, reopen=is_own_form and "lang" in fields), language)
        if not is_own_form:
            # A shop may send its payer here by a form, but may not choose for the payer.
            return _refusal_page(CROSS_ORIGIN, language, 403)
        return _apply_choice(payments, token, PayerChoice(str(choice)), str(fields.get("card", "")), language)
    except Refusal as refusal:
        # A payer who pressed twice saw neither response: this page must lead back to the shop too.
        callback = payments.find_callback(token) if is_own_form else None
        return _refusal_page(refusal, language, 400, callback)


def _apply_choice(
    payments: GatewayPayments, token: str, choice: PayerChoice, card: str, language: Language
) -> HttpResponse:
    card = compact(card)
    if choice is PayerChoice.PAY and card:
        payment = payments.open_page(token, reopen=True)
        if not is_valid_card(card):
            return _choice_page(payment, language, "card invalid")
        if payment.request.card_number not in (None, card):
            return _choice_page(payment, language, "card other")
    callback = payments.apply_choice(token, choice, card or None)
    if callback.uses_get:
        return RedirectResponse(callback.redirect_url, 303)
    return _return_page(callback, choice, language)


def _choice_page(payment: Payment, language: Language, card_error: str | None = None) -> HttpResponse:
    request = payment.request
    bank = bank_by_card(request.card_number) if request.card_number else None
    return render_page(
        "payment.html",
        language,
        http_status=422 if card_error else 200,
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


def _refusal_page(
    refusal: Refusal | str, language: Language, http_status: int, callback: CallbackRequest | None = None
) -> HttpResponse:
    status = "" if isinstance(refusal, str) else str(refusal.status)
    key = f"refusal {status or refusal}"
    message = language.gettext(key) if language.has_text(key) or isinstance(refusal, str) else refusal.message
    return render_page(
        "refusal.html", language, http_status=http_status, status=status, message=message, callback=callback
    )
