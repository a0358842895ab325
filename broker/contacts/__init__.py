# SPDX-License-Identifier: Apache-2.0
"""Who is told about alarms, and in which words."""

from broker.contacts.payloads import payload
from broker.contacts.people import Channel, Contact, Group, Plan, Roster, is_urgent
from broker.contacts.telling import recipients
from broker.contacts.words import Words, test_words, words_of, words_of_many

__all__ = [
    "Channel",
    "Contact",
    "Group",
    "Plan",
    "Roster",
    "Words",
    "is_urgent",
    "payload",
    "recipients",
    "test_words",
    "words_of",
    "words_of_many",
]
