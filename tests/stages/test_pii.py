"""PII: what is found, and what only looks like it."""

from __future__ import annotations

import time

import pytest

from dagflow.stages.pii import KINDS, find_pii, redact

BY_KIND = {kind: f"[{kind}]" for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "jane.doe+x@mail.example.co.uk"),
        ("email", "a_b@x-y.io"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("iban", "GB82WEST12345698765432"),
        ("credit_card", "4111 1111 1111 1111"),
        ("credit_card", "5500-0000-0000-0004"),
        ("credit_card", "378282246310005"),
        ("us_ssn", "123-45-6789"),
        ("ipv4", "192.168.1.254"),
        ("phone", "+49 (30) 1234567"),
        ("phone", "+15551234567"),
        ("phone", "(555) 123-4567"),
        ("phone", "555.123.4567"),
        ("phone", "030 12345678"),
    ],
)
def test_found(kind: str, text: str) -> None:
    """In the middle of a sentence, at its end, and by itself."""
    assert redact(f"Use {text}, please.", BY_KIND) == f"Use [{kind}], please."
    assert redact(f"Use {text}.", BY_KIND) == f"Use [{kind}]."
    assert find_pii(text, [kind]) == [(0, len(text), kind)]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # Luhn
        "0000 0000 0000 0000",
        "GB82WEST12345698765433",  # modulo 97
        "000-12-3456",
        "123-00-4567",
        "900-12-3456",
        "999.1.1.1",
        "1.2.3.4.5",
        "2024-01-15",
        "01.02.2024",
        "12:30 to 14:00",
        "version 3.11.7",
        "order 1234567890",
        "1,000,000.00",
        "550e8400-e29b-41d4-a716-446655440000",
        "x@y",
        "@decorator",
        "0.12345678",
    ],
)
def test_left_alone(text: str) -> None:
    """Wrong check digits, dates, versions, amounts and ids are none."""
    assert redact(text, BY_KIND) == text


def test_only_the_chosen_kinds_are_found() -> None:
    """The others stay."""
    assert redact("a@b.de 10.0.0.1", {"ipv4": "x"}) == "a@b.de x"


def test_the_more_specific_kind_wins() -> None:
    """A card number is not a phone number, though one could be read into it."""
    assert [kind for *_, kind in find_pii("378282246310005 or +15551234567", list(KINDS))] == ["credit_card", "phone"]


def test_replacements_are_not_searched_again() -> None:
    """Even where they look like something else."""
    assert redact("a@b.de", {"email": "555-123-4567", "phone": "[phone]"}) == "555-123-4567"


@pytest.mark.parametrize("unit", ["1", "1 ", "a.", "a@", "a.b-", "AA11 ", "+1", "(12) ", "0123 ", "555-", "a@b.de "])
def test_hostile_texts_take_linear_time(unit: str) -> None:
    """A megabyte of almost-matches takes about ten times as long as a tenth of it."""

    def seconds(length: int) -> float:
        text = unit * (length // len(unit))
        start = time.process_time()
        redact(text, BY_KIND)
        return time.process_time() - start

    assert seconds(500_000) < 40 * max(seconds(50_000), 0.005)
