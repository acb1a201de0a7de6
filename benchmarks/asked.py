"""The one small call that is measured: what is sent, and what comes back."""

PERSON = {"national_id": "0012345679", "mobile_number": "09121234567"}
ID, PASSWORD, TOKEN = "77", "a-password-of-some-length", "an-api-key-of-some-length-as-they-are"
PATH = "/open-banking/service/info-matching/mobile-national-id"
BODY = {"application_id": ID, "access_password": PASSWORD, **PERSON}
"""What the raw clients send: the very fields that ours sends."""

MATCH = b'{"status":1,"message":"ok","data":{"is_matched":true}}'
