#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""opencode from npm, unmodified: chat completions."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from agent_run import Agent, run  # noqa: E402


class Opencode(Agent):
    name = "opencode"
    tool = "bash"
    kind = 'kind = "byo"\ndialects = ["chat"]\nauth = "bearer"'
    files = {"opencode.json": json.dumps({
        "provider": {"kenaz": {
            "npm": "@ai-sdk/openai-compatible", "name": "Kenaz",
            "options": {"baseURL": "http://127.0.0.1:4141/v1",
                        "apiKey": "none"},
            "models": {"fake": {"name": "fake"}}}},
        "model": "kenaz/fake", "small_model": "kenaz/fake"})}
    command = ("opencode", "run")

    def input(self, shell):
        return {"command": shell, "description": "Do what was asked"}


run(Opencode())
