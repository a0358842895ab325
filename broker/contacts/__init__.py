# SPDX-License-Identifier: Apache-2.0
"""Who is told about alarms, and in which words."""

from broker.contacts.browsers import ENROLMENT_ENDED, MOST_BROWSERS, Browser, Enrolment
from broker.contacts.catalogues import languages, read_catalogues, use_catalogues
from broker.contacts.payloads import Way, payload
from broker.contacts.people import Channel, Contact, Group, Language, Plan, Roster, is_urgent
from broker.contacts.telling import recipients
from broker.contacts.words import Words, test_marked, test_words, words_of, words_of_many

__all__ = [
    "ENROLMENT_ENDED",
    "MOST_BROWSERS",
    "Browser",
    "Channel",
    "Contact",
    "Enrolment",
    "Group",
    "Language",
    "Plan",
    "Roster",
    "Way",
    "Words",
    "is_urgent",
    "languages",
    "payload",
    "read_catalogues",
    "recipients",
    "test_marked",
    "test_words",
    "use_catalogues",
    "words_of",
    "words_of_many",
]
