"""What is concluded from answers: of servers that are made up here, and of OpenSSL itself in memory."""

from __future__ import annotations

import os
import socket
from contextlib import closing, suppress

import pytest
from OpenSSL import SSL
from support import handshake

from gateway.tls import probe
from gateway.tls.context import accept
from gateway.tls.probe import DEFLATE, NULL, SSL3, TLS1_2, TLS1_3, Answer, Question, Refusal
from gateway.tls.scan import VERSIONS, grade, survey
from gateway.tls.suites import BY_CODE, REGISTERED

AES, RC4, TRIPLE_DES = 0x002F, 0x0005, 0x000A
CODES = {suite.name: suite.code for suite in REGISTERED}


def server(*suites: int, version: int = TLS1_2, own_order: bool = True, compressors: tuple[int, ...] = (NULL,)):
    """A server with these suites; returns how to ask it, and the questions that it was asked."""
    asked: list[Question] = []

    def ask(question: Question) -> Answer | None:
        asked.append(question)
        ours, theirs = (suites, question.suites) if own_order else (question.suites, suites)
        suite = next((code for code in ours if code in theirs), None)
        compressor = next(code for code in compressors if code in question.compressors)
        return None if suite is None else Answer(version, suite, compressor)

    return ask, asked


@pytest.mark.parametrize(("own_order", "preference"), [(True, "server"), (False, "client")])
def test_whose_order_decides_is_found_out_with_one_question_more(own_order, preference):
    ask, asked = server(RC4, AES, TRIPLE_DES, own_order=own_order)
    found = survey(ask, TLS1_2, "a.test")
    assert found is not None
    assert found.preference == preference
    assert {cipher.name for cipher in found.ciphers} == {BY_CODE[code].name for code in (RC4, AES, TRIPLE_DES)}
    assert len(asked) == 4 + 1 + 1
    assert {question.server_name for question in asked} == {"a.test"}


def test_a_single_suite_leaves_nothing_to_choose():
    found = survey(server(AES)[0], TLS1_2, "")
    assert found is not None
    assert (found.preference, found.least_strength) == ("indeterminate", "A")


def test_a_server_of_another_version_does_not_have_this_one():
    assert survey(server(AES, version=0x0301)[0], TLS1_2, "") is None


def test_a_server_that_answers_what_it_was_not_asked_comes_to_an_end():
    assert survey(lambda question: Answer(question.version, 0xFFFF, 0), TLS1_2, "") is None
    found = survey(lambda question: Answer(question.version, AES, 7, group=29), TLS1_2, "")
    assert found is not None
    assert [cipher.name for cipher in found.ciphers] == ["TLS_RSA_WITH_AES_128_CBC_SHA"]


def test_compression_is_found_and_warned_about():
    found = survey(server(AES, compressors=(DEFLATE, NULL))[0], TLS1_2, "")
    assert found is not None
    assert found.compressors == ("DEFLATE", "NULL")
    assert "compression of TLS (CRIME)" in found.warnings


@pytest.mark.parametrize(
    ("name", "version", "exchange_bits", "letter"),
    [
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", TLS1_2, 112, "A"),
        ("TLS_RSA_WITH_AES_256_CBC_SHA", TLS1_2, 0, "A"),
        ("TLS_DHE_RSA_WITH_AES_256_CBC_SHA", TLS1_2, 80, "B"),
        ("TLS_RSA_WITH_AES_256_CBC_SHA", TLS1_2, 64, "C"),
        ("TLS_RSA_WITH_DES_CBC_SHA", TLS1_2, 112, "D"),
        ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", TLS1_2, 112, "C"),
        ("TLS_RSA_WITH_RC4_128_MD5", TLS1_2, 112, "C"),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", SSL3, 112, "C"),
        ("TLS_RSA_EXPORT_WITH_RC4_40_MD5", TLS1_2, 112, "F"),
        ("TLS_RSA_WITH_NULL_SHA256", TLS1_2, 112, "F"),
        ("TLS_DH_anon_WITH_AES_256_CBC_SHA", TLS1_2, 112, "F"),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", TLS1_2, 1, "F"),
    ],
)
def test_the_weakest_link_decides_the_grade(name, version, exchange_bits, letter):
    assert grade(BY_CODE[CODES[name]], version, exchange_bits) == letter


def ask_openssl(site):
    """Ask a site of the gateway, on a socket pair."""

    def ask(question: Question) -> Answer | None:
        ours, theirs = socket.socketpair()
        with closing(ours), closing(theirs):
            theirs.setblocking(False)
            connection = accept(handshake.BASE, site, theirs)
            ours.sendall(probe.client_hello(question, os.urandom(32)))
            with suppress(SSL.Error):
                connection.do_handshake()
            answer = probe.read(ours.recv(probe.LIMIT), ended=True)
            return None if isinstance(answer, Refusal) else answer

    return ask


def test_openssl_is_seen_as_it_was_set():
    ciphers = "ECDHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES128-GCM-SHA256", "AES128-SHA"
    site = handshake.site(*ciphers, minimum="1.0", pairs=(handshake.RSA,))
    found = {version: survey(ask_openssl(site), version, "a.test") for version in VERSIONS}
    assert found[SSL3] is None
    assert [(one.name, one.exchange) for one in found[TLS1_2].ciphers] == [
        ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "x25519"),
        ("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", "dh 3072"),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", "rsa 2048"),
    ]
    assert found[TLS1_2].preference == "server"
    assert [one.name for one in found[0x0301].ciphers] == ["TLS_RSA_WITH_AES_128_CBC_SHA"]
    assert {one.name for one in found[TLS1_3].ciphers} == set(handshake.ALL_SUITES.split(":"))
    assert found[TLS1_3].groups[:4] == ("X25519MLKEM768", "x25519", "secp256r1", "secp384r1")
    assert {one.grade for version in found.values() if version for one in version.ciphers} == {"A"}


def test_openssl_that_leaves_the_choice_to_clients_is_seen_to_do_so():
    site = handshake.site("ECDHE+AESGCM", server_preference=False, pairs=(handshake.EC,))  # on P-256
    found = survey(ask_openssl(site), TLS1_2, "a.test")
    assert found is not None
    assert found.preference == "client"
    assert {one.exchange for one in found.ciphers} == {"x25519"}
    assert found.groups == ("x25519", "secp256r1", "secp384r1")
