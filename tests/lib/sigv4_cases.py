#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write tests/unit/sigv4_cases.h: requests and their signatures.

An implementation of AWS Signature Version 4 of its own, after the published
description, with nothing but the standard library. test_sigv4.c compares
engine/broker/sigv4.c with what this prints:

    tests/lib/sigv4_cases.py > tests/unit/sigv4_cases.h

The access keys are the examples of AWS's documentation.
"""
import hashlib
import hmac
import re
from urllib.parse import quote

ID = "AKIDEXAMPLE000000000"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwd"
DATE = "20150830T123600Z"  # 1440938160
HOST = ("host", "example.amazonaws.com")

CASES = [
    # name, method, path, query, headers, body, region, service, token
    ("get-vanilla", "GET", "/", "", [HOST], b"", "us-east-1", "service", ""),
    ("get-vanilla-query-order-key", "GET", "/",
     "Param2=value2&Param1=value1", [HOST], b"", "us-east-1", "service", ""),
    ("get-vanilla-query-order-value", "GET", "/",
     "Param1=value2&Param1=value1", [HOST], b"", "us-east-1", "service", ""),
    ("get-vanilla-query-order-prefix", "GET", "/", "ab=1&a=2&a-=3&aB=4",
     [HOST], b"", "us-east-1", "service", ""),
    ("get-vanilla-empty-query-key", "GET", "/", "Param1=value1&Flag",
     [HOST], b"", "us-east-1", "service", ""),
    ("get-query-encoded", "GET", "/", "p=a%20b%2Fc&q=%E1%88%B4", [HOST],
     b"", "us-east-1", "service", ""),
    ("get-header-value-trim", "GET", "/", "",
     [HOST, ("my-header1", " value1"), ("my-header2", ' "a   b   c" ')],
     b"", "us-east-1", "service", ""),
    ("get-header-key-duplicate", "GET", "/", "",
     [HOST, ("my-header1", "value2"), ("my-header1", "value2"),
      ("my-header1", "value1")], b"", "us-east-1", "service", ""),
    ("get-header-order", "GET", "/", "",
     [("zeta", "z"), ("my-header1", "value4"), ("alpha", "a"), HOST,
      ("my-header1", "value1")], b"", "us-east-1", "service", ""),
    ("get-unreserved", "GET",
     "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
     "", [HOST], b"", "us-east-1", "service", ""),
    ("get-space-encoded", "GET", "/example%20space/", "", [HOST], b"",
     "us-east-1", "service", ""),
    ("get-path-not-normalized", "GET", "/a/../b//./c", "", [HOST], b"",
     "us-east-1", "service", ""),
    ("get-utf8", "GET", "/%E1%88%B4/%F0%9F%98%80", "", [HOST], b"",
     "us-east-1", "service", ""),
    ("get-reserved", "GET", "/%3A%2F%3F%23%5B%5D%40!$&'()*+,;=", "", [HOST],
     b"", "us-east-1", "service", ""),
    ("get-slashes", "GET", "//example//", "", [HOST], b"", "us-east-1",
     "service", ""),
    ("get-dots", "GET", "/./..", "", [HOST], b"", "us-east-1", "service", ""),
    ("get-empty-value", "GET", "/", "b=&a=&a=1", [HOST], b"", "us-east-1",
     "service", ""),
    ("get-header-folded", "GET", "/", "",
     [HOST, ("my-header1", "a \t  b"), ("my-header2", "  ")],
     b"", "us-east-1", "service", ""),
    ("post-vanilla", "POST", "/", "", [HOST], b"", "us-east-1", "service",
     ""),
    ("post-body", "POST", "/", "",
     [HOST, ("content-type", "application/x-www-form-urlencoded")],
     b"Param1=value1", "us-east-1", "service", ""),
    ("post-sts-token", "POST", "/", "", [HOST], b"", "us-east-1", "service",
     TOKEN),
    ("bedrock-invoke", "POST",
     "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke", "",
     [("host", "bedrock-runtime.eu-central-1.amazonaws.com"),
      ("content-type", "application/json")],
     b'{"max_tokens":1}', "eu-central-1", "bedrock", ""),
    ("bedrock-arn", "POST",
     "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A"
     "application-inference-profile%2Fabc/converse-stream", "",
     [("host", "bedrock-runtime.us-east-1.amazonaws.com"),
      ("content-type", "application/json")],
     b"{}", "us-east-1", "bedrock", TOKEN),
    ("bedrock-mantle", "POST", "/anthropic/v1/messages", "beta=true",
     [("host", "bedrock-mantle.us-west-2.api.aws"),
      ("content-type", "application/json")],
     b"{}", "us-west-2", "bedrock-mantle", TOKEN),
    ("bedrock-port", "POST", "/model/m/invoke", "",
     [("host", "127.0.0.1:8443"), ("content-type", "application/json")],
     b"{}", "us-east-1", "bedrock", ""),
]


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def canonical_query(query):
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def sign(case, date=DATE):
    _, method, path, query, headers, body, region, service, token = case
    headers = headers + [("x-amz-date", date)]
    if token:
        headers = headers + [("x-amz-security-token", token)]
    values = {}
    for name, value in headers:
        value = re.sub(" +", " ", value.strip(" "))
        values.setdefault(name, []).append(value)
    names = ";".join(sorted(values))
    canonical = "\n".join([
        method, quote(path, safe="/-._~"), canonical_query(query),
        "".join(f"{n}:{','.join(values[n])}\n" for n in sorted(values)),
        names, hashlib.sha256(body).hexdigest()])
    scope = f"{date[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([
        "AWS4-HMAC-SHA256", date, scope,
        hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for step in (date[:8], region, service, "aws4_request"):
        key = mac(key, step)
    return (f"AWS4-HMAC-SHA256 Credential={ID}/{scope}, "
            f"SignedHeaders={names}, Signature={mac(key, to_sign).hex()}")


def text(value):
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main():
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* sigv4_cases.h - written by tests/lib/sigv4_cases.py */")
    print("/* clang-format off */")
    print(f"#define CASE_ID {text(ID)}")
    print(f"#define CASE_SECRET {text(SECRET)}")
    print("#define CASE_DATE " + text(DATE))
    print("#define CASE_WALL_S 1440938160")
    print("static const struct sigv4_case cases[] = {")
    for case in CASES:
        name, method, path, query, headers, body, region, service, token = case
        rows = ", ".join(f"{{{text(n)}, {text(v)}}}" for n, v in headers)
        print(f"{{{text(name)}, {text(method)},\n {text(path)},\n "
              f"{text(query)}, {text(body.decode())},\n "
              f"{text(region)}, {text(service)}, {text(token)},\n "
              f"{{{rows}}}, {len(headers)},\n {text(sign(case))}}},")
    print("};")


if __name__ == "__main__":
    main()
