"""Version of the release."""

VERSION = "0.1.0"
