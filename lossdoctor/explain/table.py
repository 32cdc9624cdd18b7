"""Every message that is known. The first whose pattern is found wins, so what is special stands before what is general."""

from __future__ import annotations

from lossdoctor.explain.arguments import ARGUMENTS
from lossdoctor.explain.inputs import INPUTS
from lossdoctor.explain.message import Message
from lossdoctor.explain.numbers import NUMBERS
from lossdoctor.explain.pytorch import PYTORCH
from lossdoctor.explain.structure import STRUCTURE

MESSAGES: tuple[Message, ...] = (*ARGUMENTS, *STRUCTURE, *NUMBERS, *INPUTS, *PYTORCH)
