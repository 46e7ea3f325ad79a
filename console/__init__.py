"""The part of fastconsole that runs on the laptop."""

from typing import Final

VERSION: Final = "0.1.0"
