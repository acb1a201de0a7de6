"""Every text of the pages, in Persian and in English."""

from collections.abc import Mapping

TEXTS: Mapping[str, tuple[str, str]] = {
    "language": ("فارسی", "English"),
    "brand": ("سندباکس پی‌استار", "Paystar sandbox"),
    "rial": ("ریال", "Rial"),
    "toman": ("تومان", "Toman"),
    "stop": (".", "."),
    # the payment page
    "play money": (
        "این درگاه آزمایشی است و پولی جابه‌جا نمی‌شود. شمارهٔ کارت واقعی وارد نکنید.",
        "A play gateway: no money moves. Do not enter the number of a real card.",
    ),
    "payment": ("پرداخت", "Payment"),
    "pay to": ("پرداخت به", "Pay"),
    "in toman": ("معادل {amount} تومان", "that is {amount} Toman"),
    "fee": ("کارمزد", "Fee, included"),
    "order": ("سفارش", "Order"),
    "description": ("شرح", "Description"),
    "reference": ("شمارهٔ ارجاع", "Reference"),
    "card": ("شمارهٔ کارت", "Card number"),
    "card any": (
        "اختیاری؛ اگر خالی بماند، یک کارت آزمایشی می‌پردازد.",
        "Optional: left empty, a play card pays.",
    ),
    "card only": ("این سفارش فقط با یک کارت پرداخت می‌شود:", "Only one card may pay for this order:"),
    "card invalid": (
        "این شمارهٔ کارت درست نیست. ۱۶ رقم روی کارت را بررسی کنید.",
        "This is no card number. Check its 16 digits.",
    ),
    "card other": ("با این کارت نمی‌توان این سفارش را پرداخت.", "This card may not pay for this order."),
    "choose pay": ("پرداخت {amount} ریال", "Pay {amount} Rial"),
    "otherwise": ("یا حالت دیگری را بیازمایید", "Or try another ending"),
    "choose cancel": ("انصراف", "Cancel"),
    "about cancel": ("پرداخت‌کننده برمی‌گردد؛ وضعیت \u2066-98\u2069.", "The payer turns back: status -98."),
    "choose fail": ("پرداخت ناموفق", "Be declined"),
    "about fail": ("بانک کارت را نمی‌پذیرد؛ وضعیت \u2066-98\u2069.", "The bank declines the card: status -98."),
    "choose expire": ("پایان مهلت", "Let it expire"),
    "about expire": (
        "پرداخت می‌شود، ولی پس از مهلت تأیید برمی‌گردد و پول به کارت بازمی‌گردد.",
        "Pay, and come back when the time to verify is over: the money goes back.",
    ),
    "chosen pay": ("پرداخت انجام شد", "Paid"),
    "chosen expire": ("پرداخت انجام شد", "Paid"),
    "chosen cancel": ("پرداخت لغو شد", "Cancelled"),
    "chosen fail": ("پرداخت ناموفق بود", "Declined"),
    "going back": ("در حال بازگشت به", "Going back to"),
    "back": ("بازگشت به پذیرنده", "Back to the shop"),
    "nothing to pay": ("پرداخت ممکن نیست", "There is nothing to pay"),
    "go back yourself": (
        "به فروشگاه برگردید و خرید را از نو آغاز کنید.",
        "Go back to the shop and start again.",
    ),
    "refusal -3": (
        "از این توکن یک بار استفاده شده است. صفحهٔ پرداخت فقط یک بار باز می‌شود.",
        "This token was used. A payment page opens once.",
    ),
    "refusal -5": ("چنین تراکنشی وجود ندارد.", "There is no such payment."),
    "refusal foreign": (
        "این درخواست از صفحهٔ دیگری آمده است؛ فقط خود پرداخت‌کننده می‌تواند انتخاب کند.",
        "This came from a page elsewhere; only the payer can choose.",
    ),
}
