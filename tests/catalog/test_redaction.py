"""Secrets never stand in what is logged, said or saved."""

import logging

import pytest

from toolkit.catalog.redaction import RedactingFilter, redact

CANARY = "CANARY1234"
TEXTS = [
    f"https://a.blob.core.windows.net/c/a.tif?st=2026&se=2027&sp=rl&sv=2024&sr=c&skoid=x&sig={CANARY}%3D",
    f"https://s3.example.org/k?X-Amz-Credential={CANARY}&X-Amz-Signature={CANARY}&X-Amz-Security-Token={CANARY}",
    f"https://d1.cloudfront.net/a.nc?A-userid=me&Expires=1&Signature={CANARY}&Key-Pair-Id={CANARY}",
    f"Authorization: Bearer {CANARY}",
    f"headers {{'Authorization': 'Bearer {CANARY}'}}",
    f"Authorization: Basic {CANARY}",
    f"https://user:{CANARY}@example.org/a.tif",
    f"Cookie: session={CANARY}",
    f"https://api.example.org/?api_key={CANARY}&b=1",
    f"GET /c/a.tif?SIG={CANARY}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_secrets_are_taken_out(text):
    assert CANARY not in redact(text)


@pytest.mark.parametrize(
    "text",
    ["https://example.org/search?limit=100&token_count=3", "12 of 30 scenes used", "signature expired", ""],
)
def test_other_text_stays_as_it_is(text):
    assert redact(text) == text


def test_what_is_around_a_secret_stays():
    assert redact("x https://e.org/a.tif?sig=abc&b=1 y") == "x https://e.org/a.tif?sig=***&b=1 y"


def test_records_of_any_library_are_cleaned_with_arguments_and_tracebacks(caplog):
    log = logging.getLogger("package.module")
    caplog.handler.addFilter(RedactingFilter())
    with caplog.at_level(logging.WARNING):
        log.warning("failed: %s", TEXTS[0])
        try:
            raise ValueError(TEXTS[0])
        except ValueError:
            log.exception("failed")
    assert CANARY not in caplog.text
    assert "sig=***" in caplog.text
