"""Stage `template`: fills in a prompt, or the messages of a chat, from the fields of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.expressions import Template
from dagflow.options import FieldName, Options
from dagflow.plugin import Stage

if TYPE_CHECKING:
    from pydantic import BaseModel

    from dagflow.record import Record


class MessageTemplate(Options):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"] = Field(description="who speaks")
    content: Template = Field(description="the template of what is said")


class TemplateStage(Stage):
    """Writes `prompt` from `template`, or `messages` from `messages`."""

    class Options(Options):
        template: Template | None = Field(None, description="the template of the prompt")
        messages: list[MessageTemplate] | None = Field(
            None, min_length=1, description="role and template of each message, instead of `template`"
        )
        output: FieldName | None = Field(
            None, description="the field that is written; by default `prompt`, or `messages` where these are given"
        )

        @model_validator(mode="after")
        def _one_of_both(self) -> TemplateStage.Options:
            if (self.template is None) == (self.messages is None):
                found = "both are given" if self.template is not None else "neither is given"
                raise PydanticCustomError(
                    "template_or_messages", "expected either `template` or `messages`; {found}", {"found": found}
                )
            return self

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        chat = self.options.messages
        self._output = self.options.output or ("prompt" if chat is None else "messages")
        self._templates = [self.options.template] if chat is None else [message.content for message in chat]

    def reads(self) -> set[str]:
        return set().union(*(template.required for template in self._templates))

    def writes(self) -> set[str]:
        return {self._output}

    async def process(self, record: Record) -> Record:
        if self.options.messages is None:
            record[self._output] = self.options.template.render(record)
        else:
            record[self._output] = [
                {"role": message.role, "content": message.content.render(record)} for message in self.options.messages
            ]
        return record
