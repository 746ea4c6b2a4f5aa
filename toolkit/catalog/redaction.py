"""Secrets are taken out of texts: logs, errors, and whatever is saved with a result."""

from __future__ import annotations

import logging
import re

HIDDEN = "***"
_PARAMETERS = (
    # Azure SAS, AWS and CloudFront signatures, tokens
    r"sig|se|st|sp|sv|sr|skoid|sktid|skt|ske|sks|skv|X-Amz-[A-Za-z-]+|AWSAccessKeyId|Signature|Expires|"
    r"Key-Pair-Id|Policy|token|access_token|api_key|apikey|subscription-key|A-userid"
)
_RULES = (
    (re.compile(rf"([?&](?:{_PARAMETERS})=)[^&\s'\"<>]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(\bBearer\s+)[A-Za-z0-9._~+/=-]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(r"(\bAuthorization['\"]?\s*[:=]\s*['\"]?)(?!Bearer)[^'\"\r\n]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(\bCookie['\"]?\s*[:=]\s*['\"]?)[^'\"\r\n]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(\w+://)[^/\s@'\"]+@"), rf"\1{HIDDEN}@"),
)


def redact(text: str) -> str:
    """Return a text without signatures, tokens, cookies and passwords.

    Args:
        text: message, URL or several of them.
    """
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class RedactingFilter(logging.Filter):
    """Takes secrets out of log records, whichever library wrote them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record in place; keep it."""
        message = record.getMessage()
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info:
            text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_text = redact(text)
        return True


def redact_logs() -> None:
    """Filter every handler of the root logger; call it once, after logging is set up."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(one, RedactingFilter) for one in handler.filters):
            handler.addFilter(RedactingFilter())
